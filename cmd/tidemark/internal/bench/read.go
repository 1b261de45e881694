package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/bench/htmlreport"
)

// What a read asks for.
const (
	// ReadForward is a page from a SeqID that is chosen at random.
	ReadForward = "forward"
	// ReadNewest is the last page.
	ReadNewest = "newest"
	// ReadTime is a page from a server time that is chosen at random.
	ReadTime = "time"
)

// ReadModes are all of them, in the order in which they are measured.
func ReadModes() []string { return []string{ReadForward, ReadNewest, ReadTime} }

// levels are those of consistency by name.
var levels = map[string]func() client.Consistency{
	"linearizable": client.Linearizable,
	"session":      client.Session,
	"local":        func() client.Consistency { return client.Local(0) },
}

// Levels are the names of all levels of consistency.
func Levels() []string { return []string{"linearizable", "session", "local"} }

// ReadConfig says how to measure reads.
type ReadConfig struct {
	Plan
	// Modes and Levels are measured in every combination, on the leader and on a follower.
	Modes, Levels []string
	// Timelines get Messages each, of Payload bytes, before anything is measured; Page is how
	// many messages a read asks for.
	Timelines, Messages, Payload, Page int
}

// ReadReport is what was measured.
type ReadReport struct {
	Conditions
	Timelines int           `json:"timelines"`
	Messages  int           `json:"messages_per_timeline"`
	Payload   int           `json:"payload_bytes"`
	PageSize  int           `json:"page"`
	Runs      []ReadMeasure `json:"runs"`
}

// ReadMeasure is one run: a call is the read of a page.
type ReadMeasure struct {
	Mode  string `json:"mode"`
	Level string `json:"level"`
	// Role is that of the node that was asked: leader or follower.
	Role string `json:"role"`
	Run
	// Messages are read in a second.
	Messages float64 `json:"messages_per_second"`
}

// Validate names the first field that is out of range.
func (c *ReadConfig) Validate() error {
	if err := c.Plan.Validate(); err != nil {
		return err
	}
	if err := validNames("modes", c.Modes, ReadModes()); err != nil {
		return err
	}
	if err := validNames("levels", c.Levels, Levels()); err != nil {
		return err
	}
	if err := validHistory(c.Timelines, c.Messages); err != nil {
		return err
	}
	if c.Page < 1 || c.Page > tidemark.MaxPageMessages {
		return tidemark.Invalid("page", "must be 1 to %d messages; it is %d", tidemark.MaxPageMessages, c.Page)
	}
	return validPayload(c.Payload)
}

// validHistory bounds what is filled before anything is measured.
func validHistory(timelines, messages int) error {
	switch {
	case timelines < 1 || timelines > 100_000:
		return tidemark.Invalid("timelines", "must be 1 to 100000; it is %d", timelines)
	case messages < 1 || messages > 1_000_000:
		return tidemark.Invalid("messages", "must be 1 to 1000000; it is %d", messages)
	}
	return nil
}

// Read fills the timelines and measures every combination.
func Read(ctx context.Context, c ReadConfig) (*ReadReport, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	b := &readBench{ReadConfig: c}
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	report := &ReadReport{Conditions: c.conditions(), Timelines: c.Timelines, Messages: c.Messages, Payload: c.Payload, PageSize: c.Page}
	for repeat := range c.Repeats {
		for _, m := range b.combinations() {
			if err := b.measure(ctx, &m.ReadMeasure, m.node); err != nil {
				return nil, fmt.Errorf("%s: %w", m.name(), err)
			}
			m.Repeat = repeat + 1
			report.Runs = append(report.Runs, m.ReadMeasure)
			c.say("%s: %.0f messages/s", report.name(m.name(), m.Repeat), m.Messages)
		}
	}
	return report, nil
}

func (m *ReadMeasure) name() string { return m.Mode + ", " + m.Level + ", " + m.Role }

type readBench struct {
	ReadConfig
	nodes []askedNode
	// begun and ended are server times: at each time from the one up to the other every
	// timeline has a message that is as late or later.
	begun, ended time.Time
}

// combination is what is to be measured, and where.
type combination struct {
	ReadMeasure
	node askedNode
}

func (b *readBench) combinations() (all []combination) {
	for _, mode := range b.Modes {
		for _, level := range b.Levels {
			for _, node := range b.nodes {
				all = append(all, combination{ReadMeasure{Mode: mode, Level: level, Role: node.role()}, node})
			}
		}
	}
	return all
}

// prepare appends all messages, and learns when.
func (b *readBench) prepare(ctx context.Context) (err error) {
	if b.nodes, err = b.filled(ctx, b.Timelines, b.Messages, b.Payload); err != nil {
		return err
	}
	c, err := b.reader(ctx, b.nodes[0], b.Timelines)
	if err != nil {
		return err
	}
	defer c.Close()
	for timeline, err := range c.Timelines(ctx, b.Prefix) {
		if err != nil {
			return err
		}
		if b.begun.IsZero() || timeline.CreatedTime.Before(b.begun) {
			b.begun = timeline.CreatedTime
		}
		if b.ended.IsZero() || timeline.LastTime.Before(b.ended) {
			b.ended = timeline.LastTime
		}
	}
	return nil
}

func (b *readBench) measure(ctx context.Context, m *ReadMeasure, node askedNode) error {
	c, err := b.reader(ctx, node, b.Timelines)
	if err != nil {
		return err
	}
	defer c.Close()
	level := levels[m.Level]()
	var read perCall
	var used nodeSample
	m.Measured, used, err = b.run(ctx, func(ctx context.Context, _ int) error {
		page, err := c.Read(ctx, b.timeline(rand.IntN(b.Timelines)), b.place(m.Mode), client.Limit(b.Page), level)
		if err == nil && len(page.Messages) == 0 {
			err = fmt.Errorf("a page of %s is empty", page.Timeline.ID)
		}
		if err == nil {
			read.add(len(page.Messages))
		}
		return err
	})
	if err != nil {
		return err
	}
	// Pages near the end are shorter.
	m.Messages = m.PerSecond * read.mean()
	m.Servers = used.per("message", float64(m.Calls)*read.mean())
	return nil
}

// perCall counts what calls return.
type perCall struct{ calls, sum atomic.Int64 }

func (c *perCall) add(n int) {
	c.calls.Add(1)
	c.sum.Add(int64(n))
}

func (c *perCall) mean() float64 { return float64(c.sum.Load()) / float64(max(c.calls.Load(), 1)) }

// place is where a page begins.
func (b *readBench) place(mode string) client.ReadOption {
	switch mode {
	case ReadNewest:
		return client.Newest(b.Page)
	case ReadTime:
		return client.FromTime(b.begun.Add(time.Duration(rand.Int64N(int64(max(b.ended.Sub(b.begun), 1))))))
	default:
		return client.From(tidemark.SeqID(1 + rand.IntN(max(b.Messages-b.Page, 0)+1)))
	}
}

// Page implements Report.
func (r *ReadReport) Page() htmlreport.Page {
	show := newRuns("PAGES/S", "MESSAGES/S")
	for i := range r.Runs {
		m := &r.Runs[i]
		name := r.name(m.name(), m.Repeat)
		show.add(name, m.Measured, 1, wholeNumber(m.PerSecond), wholeNumber(m.Messages))
		show.use(name, m.Servers)
	}
	return show.page("pages/s", r.settings(numberSetting("timelines", r.Timelines), numberSetting("messages of a timeline", r.Messages),
		numberSetting("bytes of a message", r.Payload), numberSetting("messages of a page, at most", r.PageSize)))
}
