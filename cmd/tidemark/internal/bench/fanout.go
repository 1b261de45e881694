package bench

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/bench/htmlreport"
	"tidemark/internal/load"
)

// FanOutConfig says how to measure fan-outs.
type FanOutConfig struct {
	Plan
	// Sets are the sizes of recipient sets that are measured, one after the other.
	Sets []int
	// Payload is the size of each message.
	Payload int
}

// FanOutReport is what was measured.
type FanOutReport struct {
	Conditions
	Payload int           `json:"payload_bytes"`
	Sets    []FanOutOfSet `json:"sets"`
}

// FanOutOfSet is what came of one size of sets: a call is an append of a message.
type FanOutOfSet struct {
	Inboxes int `json:"inboxes"`
	Run
	// Entries of inboxes are made in a second.
	Entries float64 `json:"entries_per_second"`
	// LogBytes is what the Raft log of one node grows by for each message.
	LogBytes float64 `json:"log_bytes_per_message"`
	// Singles is how many entries in a second the same fan-out makes as one append to each
	// inbox, pipelined by the SDK, and Ratio is that of Entries to it.
	Singles float64 `json:"single_appends_per_second"`
	Ratio   float64 `json:"ratio"`
}

// Validate names the first field that is out of range.
func (c *FanOutConfig) Validate() error {
	if err := c.Plan.Validate(); err != nil {
		return err
	}
	if len(c.Sets) == 0 || slices.Min(c.Sets) < 1 || slices.Max(c.Sets) > tidemark.MaxRecipients {
		return tidemark.Invalid("sets", "must be 1 to %d; they are %v", tidemark.MaxRecipients, c.Sets)
	}
	return validPayload(c.Payload)
}

// FanOut measures each size of sets, and single appends beside it.
func FanOut(ctx context.Context, c FanOutConfig) (*FanOutReport, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	writer, err := client.New(c.Endpoints)
	if err != nil {
		return nil, err
	}
	defer writer.Close()
	b := &fanOutBench{FanOutConfig: c, writer: writer, payload: newPayload(c.Payload)}
	report := &FanOutReport{Conditions: c.conditions(), Payload: c.Payload}
	for repeat := range c.Repeats {
		for _, size := range c.Sets {
			m, err := b.measure(ctx, size)
			if err != nil {
				return nil, fmt.Errorf("a set of %d: %w", size, err)
			}
			m.Repeat = repeat + 1
			report.Sets = append(report.Sets, m)
		}
	}
	return report, nil
}

type fanOutBench struct {
	FanOutConfig
	writer  *client.Client
	payload []byte
}

func (b *fanOutBench) measure(ctx context.Context, size int) (m FanOutOfSet, err error) {
	m.Inboxes = size
	group := tidemark.TimelineID(fmt.Sprintf("%s/group-%d", b.Prefix, size))
	inboxes := make([]tidemark.TimelineID, size)
	for i := range inboxes {
		inboxes[i] = tidemark.TimelineID(fmt.Sprintf("%s/inbox-%d-%05d", b.Prefix, size, i))
	}
	if err := addRecipients(ctx, b.writer, group, inboxes); err != nil {
		return m, err
	}
	b.say("set of %d: fan-out", size)
	var used nodeSample
	if m.Measured, used, err = b.fanOuts(ctx, group, size); err != nil {
		return m, err
	}
	m.Entries = m.PerSecond * float64(size)
	m.LogBytes = used.logged / float64(m.Calls) / float64(len(b.HTTP))
	m.Servers = used.per("message", float64(m.Calls))
	b.say("set of %d: single appends", size)
	singles, err := b.singles(ctx, inboxes)
	if err != nil {
		return m, err
	}
	m.Singles = singles.PerSecond
	m.Ratio = m.Entries / m.Singles
	return m, nil
}

// addRecipients makes the inboxes recipients of a timeline.
func addRecipients(ctx context.Context, writer *client.Client, timeline tidemark.TimelineID, inboxes []tidemark.TimelineID) error {
	for part := range slices.Chunk(inboxes, tidemark.MaxRecipientChanges) {
		if _, err := writer.SetRecipients(ctx, timeline, tidemark.RecipientChange{Add: part}); err != nil {
			return err
		}
	}
	return nil
}

func (b *fanOutBench) fanOuts(ctx context.Context, group tidemark.TimelineID, size int) (load.Measured, nodeSample, error) {
	return b.run(ctx, func(ctx context.Context, _ int) error {
		result, err := b.writer.Append(ctx, client.Draft{Timeline: group, Sender: sender, Payload: b.payload}, client.FanOut())
		if err == nil && result.Inboxes != size && !result.Duplicate {
			err = fmt.Errorf("%d inboxes were reached", result.Inboxes)
		}
		return err
	})
}

// singleCallers is as many as make single appends fast.
const singleCallers = 256

// singles appends to one inbox after the other, as fast as that goes.
func (b *fanOutBench) singles(ctx context.Context, inboxes []tidemark.TimelineID) (load.Measured, error) {
	plan := b.Plan
	plan.Callers, plan.Rate = max(b.Callers, singleCallers), 0
	var next atomic.Int64
	m, _, err := plan.run(ctx, func(ctx context.Context, _ int) error {
		inbox := inboxes[int(next.Add(1)-1)%len(inboxes)]
		_, err := b.writer.Append(ctx, client.Draft{Timeline: inbox, Sender: sender, Payload: b.payload})
		return err
	})
	return m, err
}

// Page implements Report.
func (r *FanOutReport) Page() htmlreport.Page {
	show := newRuns("MESSAGES/S", "ENTRIES/S", "SINGLE APPENDS/S", "RATIO", "LOG BYTES/MESSAGE")
	for i := range r.Sets {
		s := &r.Sets[i]
		name := r.name(fmt.Sprintf("%d inboxes", s.Inboxes), s.Repeat)
		show.add(name, s.Measured, 1, wholeNumber(s.PerSecond), wholeNumber(s.Entries), wholeNumber(s.Singles), fmt.Sprintf("%.1f", s.Ratio), wholeNumber(s.LogBytes))
		show.use(name, s.Servers)
	}
	return show.page("messages/s", r.settings(numberSetting("bytes of a message", r.Payload)))
}
