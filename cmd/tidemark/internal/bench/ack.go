package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/bench/htmlreport"
	"tidemark/cmd/tidemark/internal/bench/imday"
)

// AckConfig says how to measure acknowledgements.
type AckConfig struct {
	Plan
	// Timelines get Messages each, of Payload bytes, before anything is measured.
	Timelines, Messages, Payload int
	// Readers is how many there are. In each call a random one of them moves its cursors of
	// Items random timelines by a message; of a timeline that it has read whole, it repeats the last.
	Readers, Items int
}

// AckReport is what was measured.
type AckReport struct {
	Conditions
	Timelines int          `json:"timelines"`
	Messages  int          `json:"messages_per_timeline"`
	Readers   int          `json:"readers"`
	Items     int          `json:"cursors_per_call"`
	Runs      []AckMeasure `json:"runs"`
}

// AckMeasure is one run: a call is an Ack.
type AckMeasure struct {
	Run
	// Cursors are acknowledged in a second.
	Cursors float64 `json:"cursors_per_second"`
}

// maxCursors bounds the cursors, each of which is remembered.
const maxCursors = 10_000_000

// Validate names the first field that is out of range.
func (c *AckConfig) Validate() error {
	if err := c.Plan.Validate(); err != nil {
		return err
	}
	if err := validHistory(c.Timelines, c.Messages); err != nil {
		return err
	}
	items := min(c.Timelines, tidemark.MaxAckItems)
	switch {
	case c.Readers < 1 || c.Readers*c.Timelines > maxCursors:
		return tidemark.Invalid("readers", "must be 1 to %d with so many timelines; it is %d", maxCursors/c.Timelines, c.Readers)
	case c.Items < 1 || c.Items > items:
		return tidemark.Invalid("items", "must be 1 to %d of as many timelines; it is %d", items, c.Items)
	}
	return validPayload(c.Payload)
}

// Ack fills the timelines and measures acknowledgements.
func Ack(ctx context.Context, c AckConfig) (*AckReport, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if _, err := c.filled(ctx, c.Timelines, c.Messages, c.Payload); err != nil {
		return nil, err
	}
	b := &ackBench{AckConfig: c, read: make([]atomic.Uint32, c.Readers*c.Timelines)}
	report := &AckReport{Conditions: c.conditions(), Timelines: c.Timelines, Messages: c.Messages, Readers: c.Readers, Items: c.Items}
	for repeat := range c.Repeats {
		m, err := b.measure(ctx)
		if err != nil {
			return nil, err
		}
		m.Repeat = repeat + 1
		report.Runs = append(report.Runs, m)
		c.say("%d of %d: %.0f cursors/s", m.Repeat, c.Repeats, m.Cursors)
	}
	return report, nil
}

type ackBench struct {
	AckConfig
	// read is how far each reader is in each timeline, or more if it has read it whole.
	read []atomic.Uint32
}

func (b *ackBench) measure(ctx context.Context) (m AckMeasure, err error) {
	sdk, err := client.New(b.Endpoints)
	if err != nil {
		return m, err
	}
	defer sdk.Close()
	var used nodeSample
	if m.Measured, used, err = b.run(ctx, func(ctx context.Context, _ int) error { return b.ack(ctx, sdk) }); err != nil {
		return m, err
	}
	m.Cursors = m.PerSecond * float64(b.Items)
	m.Servers = used.per("cursor", float64(m.Calls)*float64(b.Items))
	return m, nil
}

// ack is one call.
func (b *ackBench) ack(ctx context.Context, sdk *client.Client) error {
	reader, walk := rand.IntN(b.Readers), imday.NewWalk(b.Timelines, rand.IntN)
	items := make([]client.AckItem, b.Items)
	for i := range items {
		n := walk.At(i)
		mark := min(int(b.read[reader*b.Timelines+n].Add(1)), b.Messages)
		items[i] = client.AckItem{Timeline: b.timeline(n), Read: tidemark.SeqID(mark)}
	}
	cursors, err := sdk.Ack(ctx, tidemark.ReaderID(fmt.Sprintf("reader-%d", reader)), items...)
	if err != nil {
		return err
	}
	for i := range cursors {
		if cursors[i].Read < items[i].Read {
			return fmt.Errorf("the cursor of %s is at %d, not at %d", items[i].Timeline, cursors[i].Read, items[i].Read)
		}
	}
	return nil
}

// Page implements Report.
func (r *AckReport) Page() htmlreport.Page {
	show := newRuns("ACKS/S", "CURSORS/S")
	for i := range r.Runs {
		m := &r.Runs[i]
		name := r.name("ack", m.Repeat)
		show.add(name, m.Measured, 1, wholeNumber(m.PerSecond), wholeNumber(m.Cursors))
		show.use(name, m.Servers)
	}
	return show.page("acks/s", r.settings(numberSetting("timelines", r.Timelines), numberSetting("messages of a timeline", r.Messages),
		numberSetting("readers", r.Readers), numberSetting("cursors of a call", r.Items)))
}
