package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"tidemark"
	"tidemark/client"
	"tidemark/internal/load"
)

// FanOutConfig says how to measure fan-outs.
type FanOutConfig struct {
	Target
	// Sets are the sizes of recipient sets that are measured, one after the other.
	Sets []int
	// Callers is how many appends are under way at a time (a closed loop).
	Callers int
	// Duration is how long each set is measured, after a tenth of it to warm up.
	Duration time.Duration
	// Payload is the size of each message.
	Payload int
	// Progress is told what is done; it may be nil.
	Progress func(string)
}

// FanOutReport is what was measured.
type FanOutReport struct {
	Callers int           `json:"callers"`
	Payload int           `json:"payload_bytes"`
	Sets    []FanOutOfSet `json:"sets"`
}

// FanOutOfSet is what came of one size of sets.
type FanOutOfSet struct {
	Inboxes int `json:"inboxes"`
	// Messages and Entries are appended in a second: messages, and entries of inboxes.
	Messages float64 `json:"messages_per_second"`
	Entries  float64 `json:"entries_per_second"`
	// Append is how long an append takes until its reply.
	Append load.Latency `json:"append"`
	// LogBytes is what the Raft log of one node grows by for each message.
	LogBytes float64 `json:"log_bytes_per_message"`
	// Singles is how many entries in a second the same fan-out makes as one append to each
	// inbox, pipelined by the SDK, and Ratio is that of Entries to it.
	Singles float64 `json:"single_appends_per_second"`
	Ratio   float64 `json:"ratio"`
}

const maxFanOutCallers = 1024

// Validate names the first field that is out of range.
func (c *FanOutConfig) Validate() error {
	if err := c.validate(); err != nil {
		return err
	}
	switch {
	case len(c.Sets) == 0 || slices.Min(c.Sets) < 1 || slices.Max(c.Sets) > tidemark.MaxRecipients:
		return tidemark.Invalid("sets", "must be 1 to %d; they are %v", tidemark.MaxRecipients, c.Sets)
	case c.Callers < 1 || c.Callers > maxFanOutCallers:
		return tidemark.Invalid("callers", "must be 1 to %d; it is %d", maxFanOutCallers, c.Callers)
	case c.Duration < time.Second || c.Duration > time.Hour:
		return tidemark.Invalid("duration", "must be 1s to 1h; it is %v", c.Duration)
	case c.Payload < 0 || c.Payload > tidemark.MaxPayloadBytes:
		return tidemark.Invalid("payload", "must be 0 to %d bytes; it is %d", tidemark.MaxPayloadBytes, c.Payload)
	}
	return nil
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
	b := &fanOutBench{FanOutConfig: c, writer: writer}
	report := &FanOutReport{Callers: c.Callers, Payload: c.Payload}
	for _, size := range c.Sets {
		measured, err := b.measure(ctx, size)
		if err != nil {
			return nil, fmt.Errorf("a set of %d: %w", size, err)
		}
		report.Sets = append(report.Sets, measured)
	}
	return report, nil
}

type fanOutBench struct {
	FanOutConfig
	writer *client.Client
}

func (b *fanOutBench) say(format string, args ...any) {
	if b.Progress != nil {
		b.Progress(fmt.Sprintf(format, args...))
	}
}

func (b *fanOutBench) measure(ctx context.Context, size int) (m FanOutOfSet, err error) {
	m.Inboxes = size
	group := tidemark.TimelineID(fmt.Sprintf("%s/group-%d", b.Prefix, size))
	inboxes := make([]tidemark.TimelineID, size)
	for i := range inboxes {
		inboxes[i] = tidemark.TimelineID(fmt.Sprintf("%s/inbox-%d-%05d", b.Prefix, size, i))
	}
	for part := range slices.Chunk(inboxes, tidemark.MaxRecipientChanges) {
		if _, err := b.writer.SetRecipients(ctx, group, tidemark.RecipientChange{Add: part}); err != nil {
			return m, err
		}
	}
	b.say("set of %d: fan-out", size)
	before, err := b.logBytes(ctx)
	if err != nil {
		return m, err
	}
	run, err := b.load(ctx, func(ctx context.Context) error {
		result, err := b.writer.Append(ctx, client.Draft{Timeline: group, Sender: "bench", Payload: make([]byte, b.Payload)}, client.FanOut())
		if err == nil && result.Inboxes != size && !result.Duplicate {
			err = fmt.Errorf("%d inboxes were reached", result.Inboxes)
		}
		return err
	})
	if err != nil {
		return m, err
	}
	after, err := b.logBytes(ctx)
	if err != nil {
		return m, err
	}
	m.Messages, m.Append = run.rate, run.latency
	m.Entries = m.Messages * float64(size)
	m.LogBytes = (after - before) / float64(run.all)

	b.say("set of %d: single appends", size)
	next := 0
	var mu sync.Mutex
	run, err = b.load(ctx, func(ctx context.Context) error {
		mu.Lock()
		inbox := inboxes[next%size]
		next++
		mu.Unlock()
		_, err := b.writer.Append(ctx, client.Draft{Timeline: inbox, Sender: "bench", Payload: make([]byte, b.Payload)})
		return err
	}, b.singleCallers())
	if err != nil {
		return m, err
	}
	m.Singles = run.rate
	m.Ratio = m.Entries / m.Singles
	return m, nil
}

// singleCallers is as many as make single appends fast.
func (b *fanOutBench) singleCallers() int { return max(b.Callers, 256) }

// loaded is what came of one load.
type loaded struct {
	// rate is how many calls ended in a second, and latency how long they took, once it
	// was warm; all counts those before, too.
	rate    float64
	latency load.Latency
	all     int
}

// load has callers make one call after the other. It fails if any call fails.
func (b *fanOutBench) load(ctx context.Context, call func(context.Context) error, callers ...int) (result loaded, err error) {
	n := b.Callers
	if len(callers) > 0 {
		n = callers[0]
	}
	warm := time.Now().Add(b.Duration / 10)
	end := warm.Add(b.Duration)
	var mu sync.Mutex
	latencies := load.NewHistogram()
	measured, failed := 0, error(nil)
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			for begun := time.Now(); begun.Before(end) && ctx.Err() == nil; begun = time.Now() {
				err := call(ctx)
				now := time.Now()
				mu.Lock()
				result.all++
				if begun.After(warm) && now.Before(end) {
					measured++
					latencies.Record(now.Sub(begun))
				}
				failed = errors.Join(failed, err)
				stop := failed != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	group.Wait()
	if err := errors.Join(ctx.Err(), failed); err != nil {
		return result, fmt.Errorf("%d appends were made, and not all succeeded: %w", result.all, err)
	}
	result.rate, result.latency = float64(measured)/b.Duration.Seconds(), latencies.Latency()
	return result, nil
}

// logBytes is what the Raft log of the first node has got so far.
func (b *fanOutBench) logBytes(ctx context.Context) (bytes float64, err error) {
	err = get(ctx, b.HTTP[0], "/metrics", func(r io.Reader) error {
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(r)
		if err != nil {
			return err
		}
		bytes, err = counter(families, "log_append_bytes_total")
		return err
	})
	return bytes, err
}

// counter reads the only metric whose name ends so.
func counter(families map[string]*dto.MetricFamily, ending string) (float64, error) {
	for name, family := range families {
		if strings.HasSuffix(name, ending) && len(family.GetMetric()) == 1 {
			return family.GetMetric()[0].GetCounter().GetValue(), nil
		}
	}
	return 0, fmt.Errorf("the node has no metric %s", ending)
}
