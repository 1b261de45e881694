package bench

import (
	"context"
	"fmt"
	"slices"

	"tidemark"
	"tidemark/cmd/tidemark/internal/bench/htmlreport"
)

// How messages are appended.
const (
	// AppendSDK is one Append of the SDK by each caller, which all share one pipelined stream.
	AppendSDK = "sdk"
	// AppendUnary is one call of the generated API by each caller, to the leader.
	AppendUnary = "unary"
	// AppendStream is one append by each caller on a stream of its own to the leader, by the
	// generated API: it sends the next one when it has got the reply.
	AppendStream = "stream"
	// AppendBatch is one AppendBatch of AppendConfig.Batch messages by each caller.
	AppendBatch = "batch"
)

// AppendModes are all ways, in the order in which they are measured.
func AppendModes() []string { return []string{AppendSDK, AppendUnary, AppendStream, AppendBatch} }

// AppendConfig says how to measure appends.
type AppendConfig struct {
	Plan
	// Modes are some of AppendModes, measured one after the other.
	Modes []string
	// Timelines are appended to at random, and Payload is the size of each message. Batch is
	// how many messages a batch has.
	Timelines, Payload, Batch int
}

// AppendReport is what was measured.
type AppendReport struct {
	Conditions
	Timelines int             `json:"timelines"`
	Payload   int             `json:"payload_bytes"`
	Batch     int             `json:"batch"`
	Runs      []AppendMeasure `json:"runs"`
}

// AppendMeasure is one run.
type AppendMeasure struct {
	Mode string `json:"mode"`
	Run
	// Messages are appended in a second: in a batch, several by one call.
	Messages float64 `json:"messages_per_second"`
}

// Validate names the first field that is out of range.
func (c *AppendConfig) Validate() error {
	if err := c.Plan.Validate(); err != nil {
		return err
	}
	if err := validNames("modes", c.Modes, AppendModes()); err != nil {
		return err
	}
	switch {
	case c.Timelines < 1 || c.Timelines > 1_000_000:
		return tidemark.Invalid("timelines", "must be 1 to 1000000; it is %d", c.Timelines)
	case c.Batch < 1 || c.Batch > tidemark.MaxBatchMessages || c.Batch*c.Payload > tidemark.MaxBatchBytes:
		return tidemark.Invalid("batch", "must be 1 to %d messages of %d bytes together; it is %d", tidemark.MaxBatchMessages, tidemark.MaxBatchBytes, c.Batch)
	}
	return validPayload(c.Payload)
}

// validNames refuses names that are none of those known, and none at all.
func validNames(field string, names, known []string) error {
	if len(names) == 0 {
		return tidemark.Invalid(field, "must not be empty")
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return tidemark.Invalid(field, "must be of %v; %q is not", known, name)
		}
	}
	return nil
}

func validPayload(size int) error {
	if size < 0 || size > tidemark.MaxPayloadBytes {
		return tidemark.Invalid("payload", "must be 0 to %d bytes; it is %d", tidemark.MaxPayloadBytes, size)
	}
	return nil
}

// Append measures each way, and all of them again as often as it is to be repeated.
func Append(ctx context.Context, c AppendConfig) (*AppendReport, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	report := &AppendReport{Conditions: c.conditions(), Timelines: c.Timelines, Payload: c.Payload, Batch: c.Batch}
	for repeat := range c.Repeats {
		for _, mode := range c.Modes {
			m, err := c.measure(ctx, mode)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", mode, err)
			}
			m.Repeat = repeat + 1
			report.Runs = append(report.Runs, m)
			c.say("%s: %.0f messages/s", report.name(mode, m.Repeat), m.Messages)
		}
	}
	return report, nil
}

func (c *AppendConfig) measure(ctx context.Context, mode string) (m AppendMeasure, err error) {
	a, err := newAppender(c)
	if err != nil {
		return m, err
	}
	defer a.close()
	call, err := a.call(ctx, mode)
	if err != nil {
		return m, err
	}
	m.Mode = mode
	var used nodeSample
	if m.Measured, used, err = c.run(ctx, call); err != nil {
		return m, err
	}
	each := float64(c.each(mode))
	m.Messages = m.PerSecond * each
	m.Servers = used.per("message", float64(m.Calls)*each)
	return m, nil
}

// each is how many messages a call of a mode appends.
func (c *AppendConfig) each(mode string) int {
	if mode == AppendBatch {
		return c.Batch
	}
	return 1
}

// Page implements Report.
func (r *AppendReport) Page() htmlreport.Page {
	show := newRuns("MESSAGES/S")
	for i := range r.Runs {
		m := &r.Runs[i]
		name := r.name(m.Mode, m.Repeat)
		show.add(name, m.Measured, m.Messages/m.PerSecond, wholeNumber(m.Messages))
		show.use(name, m.Servers)
	}
	return show.page("messages/s", r.settings(numberSetting("timelines", r.Timelines), numberSetting("bytes of a message", r.Payload), numberSetting("messages of a batch", r.Batch)))
}
