package bench

import (
	"context"
	"fmt"
	"math/rand/v2"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/bench/htmlreport"
	"tidemark/cmd/tidemark/internal/bench/imday"
)

// SyncConfig says how to measure syncs: calls of devices that come back.
type SyncConfig struct {
	Plan
	// Levels are measured one after the other, on the leader and on a follower.
	Levels []string
	// Timelines get Messages each, of Payload bytes, before anything is measured.
	Timelines, Messages, Payload int
	// Positions is how many of the timelines a device has, chosen at random for each call, and
	// Changed in how many of these there is something new: so many messages as News says.
	Positions, Changed, News int
}

// SyncReport is what was measured.
type SyncReport struct {
	Conditions
	Timelines int           `json:"timelines"`
	Messages  int           `json:"messages_per_timeline"`
	Payload   int           `json:"payload_bytes"`
	Positions int           `json:"positions"`
	Changed   int           `json:"changed"`
	News      int           `json:"new_messages_of_changed"`
	Runs      []SyncMeasure `json:"runs"`
}

// SyncMeasure is one run: a call is the Sync of a device.
type SyncMeasure struct {
	Level string `json:"level"`
	// Role is that of the node that was asked: leader or follower.
	Role string `json:"role"`
	Run
	// Positions are looked at in a second, and Messages are returned.
	Positions float64 `json:"positions_per_second"`
	Messages  float64 `json:"messages_per_second"`
}

// syncOverhead is more than a message takes in an answer beside its payload.
const syncOverhead = 256

// Validate names the first field that is out of range.
func (c *SyncConfig) Validate() error {
	if err := c.Plan.Validate(); err != nil {
		return err
	}
	if err := validNames("levels", c.Levels, Levels()); err != nil {
		return err
	}
	if err := validHistory(c.Timelines, c.Messages); err != nil {
		return err
	}
	if err := validPayload(c.Payload); err != nil {
		return err
	}
	positions, news := min(c.Timelines, tidemark.MaxSyncPositions), min(c.Messages, tidemark.MaxPageMessages)
	switch {
	case c.Positions < 1 || c.Positions > positions:
		return tidemark.Invalid("positions", "must be 1 to %d of as many timelines; it is %d", positions, c.Positions)
	case c.Changed < 0 || c.Changed > c.Positions:
		return tidemark.Invalid("changed", "must be 0 to %d of as many positions; it is %d", c.Positions, c.Changed)
	case c.News < 1 || c.News > news:
		return tidemark.Invalid("news", "must be 1 to %d messages; it is %d", news, c.News)
	case c.Changed*c.News*(c.Payload+syncOverhead) > tidemark.MaxPageBytes:
		return tidemark.Invalid("news", "must fit into one answer of %d bytes; it is %d messages in each of %d timelines", tidemark.MaxPageBytes, c.News, c.Changed)
	}
	return nil
}

// Sync fills the timelines and measures each level.
func Sync(ctx context.Context, c SyncConfig) (*SyncReport, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	nodes, err := c.filled(ctx, c.Timelines, c.Messages, c.Payload)
	if err != nil {
		return nil, err
	}
	report := &SyncReport{
		Conditions: c.conditions(), Timelines: c.Timelines, Messages: c.Messages, Payload: c.Payload,
		Positions: c.Positions, Changed: c.Changed, News: c.News,
	}
	for repeat := range c.Repeats {
		for _, level := range c.Levels {
			for _, node := range nodes {
				m := SyncMeasure{Level: level, Role: node.role()}
				if err := c.measure(ctx, &m, node); err != nil {
					return nil, fmt.Errorf("%s: %w", m.name(), err)
				}
				m.Repeat = repeat + 1
				report.Runs = append(report.Runs, m)
				c.say("%s: %.0f syncs/s", report.name(m.name(), m.Repeat), m.PerSecond)
			}
		}
	}
	return report, nil
}

func (m *SyncMeasure) name() string { return m.Level + ", " + m.Role }

func (c *SyncConfig) measure(ctx context.Context, m *SyncMeasure, node askedNode) error {
	device, err := c.reader(ctx, node, c.Timelines)
	if err != nil {
		return err
	}
	defer device.Close()
	level := levels[m.Level]()
	var used nodeSample
	m.Measured, used, err = c.run(ctx, func(ctx context.Context, _ int) error {
		synced, err := device.Sync(ctx, client.SyncRequest{Have: c.have(), MaxBytes: tidemark.MaxPageBytes, Limit: c.News}, level)
		if err != nil {
			return err
		}
		return c.check(synced)
	})
	if err != nil {
		return err
	}
	m.Positions, m.Messages = m.PerSecond*float64(c.Positions), m.PerSecond*float64(c.Changed*c.News)
	m.Servers = used.per("sync", float64(m.Calls))
	return nil
}

// have is what a device has that was away.
func (c *SyncConfig) have() []client.Have {
	walk := imday.NewWalk(c.Timelines, rand.IntN)
	have := make([]client.Have, c.Positions)
	for i := range have {
		have[i] = client.Have{Timeline: c.timeline(walk.At(i)), After: tidemark.SeqID(c.Messages)}
		if i < c.Changed {
			have[i].After -= tidemark.SeqID(c.News)
		}
	}
	return have
}

// check refuses an answer that does not have all that is new.
func (c *SyncConfig) check(synced *client.Synced) error {
	if len(synced.Timelines) != c.Changed || synced.More {
		return fmt.Errorf("%d timelines have news, not %d; more: %v", len(synced.Timelines), c.Changed, synced.More)
	}
	for i := range synced.Timelines {
		if n := len(synced.Timelines[i].Messages); n != c.News {
			return fmt.Errorf("%s has %d new messages, not %d", synced.Timelines[i].Timeline.ID, n, c.News)
		}
	}
	return nil
}

// Page implements Report.
func (r *SyncReport) Page() htmlreport.Page {
	show := newRuns("SYNCS/S", "POSITIONS/S", "MESSAGES/S")
	for i := range r.Runs {
		m := &r.Runs[i]
		name := r.name(m.name(), m.Repeat)
		show.add(name, m.Measured, 1, wholeNumber(m.PerSecond), wholeNumber(m.Positions), wholeNumber(m.Messages))
		show.use(name, m.Servers)
	}
	return show.page("syncs/s", r.settings(numberSetting("timelines", r.Timelines), numberSetting("messages of a timeline", r.Messages),
		numberSetting("bytes of a message", r.Payload), numberSetting("positions of a device", r.Positions),
		numberSetting("of them with news", r.Changed), numberSetting("new messages of each", r.News)))
}
