package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"tidemark"
	"tidemark/client"
	"tidemark/internal/load"
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

// readLevels are the levels by name.
var readLevels = map[string]func() client.Consistency{
	"linearizable": client.Linearizable,
	"session":      client.Session,
	"local":        func() client.Consistency { return client.Local(0) },
}

// ReadLevels are the names of all levels.
func ReadLevels() []string { return []string{"linearizable", "session", "local"} }

// ReadConfig says how to measure reads.
type ReadConfig struct {
	Target
	load.Load
	// Modes and Levels are measured in every combination, on the leader and on a follower.
	Modes, Levels []string
	// Timelines get Messages each, of Payload bytes, before anything is measured; Page is how
	// many messages a read asks for.
	Timelines, Messages, Payload, Page int
	// Progress is told what is done; it may be nil.
	Progress func(string)
}

// ReadReport is what was measured.
type ReadReport struct {
	Callers   int           `json:"callers"`
	Rate      float64       `json:"rate,omitempty"`
	Timelines int           `json:"timelines"`
	Messages  int           `json:"messages_per_timeline"`
	Payload   int           `json:"payload_bytes"`
	Page      int           `json:"page"`
	Runs      []ReadMeasure `json:"runs"`
}

// ReadMeasure is one run.
type ReadMeasure struct {
	Mode  string `json:"mode"`
	Level string `json:"level"`
	// Role is that of the node that was asked: leader or follower.
	Role string `json:"role"`
	load.Measured
	// Messages are read in a second.
	Messages float64 `json:"messages_per_second"`
}

// Validate names the first field that is out of range.
func (c *ReadConfig) Validate() error {
	if err := c.validate(); err != nil {
		return err
	}
	if err := c.Load.Validate(); err != nil {
		return err
	}
	for _, of := range []struct {
		field        string
		asked, known []string
	}{{"modes", c.Modes, ReadModes()}, {"levels", c.Levels, ReadLevels()}} {
		if len(of.asked) == 0 {
			return tidemark.Invalid(of.field, "must not be empty")
		}
		for _, name := range of.asked {
			if !slices.Contains(of.known, name) {
				return tidemark.Invalid(of.field, "must be of %v; %q is not", of.known, name)
			}
		}
	}
	switch {
	case c.Timelines < 1 || c.Timelines > 100_000:
		return tidemark.Invalid("timelines", "must be 1 to 100000; it is %d", c.Timelines)
	case c.Messages < 1 || c.Messages > 1_000_000:
		return tidemark.Invalid("messages", "must be 1 to 1000000; it is %d", c.Messages)
	case c.Payload < 0 || c.Payload > tidemark.MaxPayloadBytes:
		return tidemark.Invalid("payload", "must be 0 to %d bytes; it is %d", tidemark.MaxPayloadBytes, c.Payload)
	case c.Page < 1 || c.Page > tidemark.MaxPageMessages:
		return tidemark.Invalid("page", "must be 1 to %d messages; it is %d", tidemark.MaxPageMessages, c.Page)
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
	report := &ReadReport{Callers: c.Callers, Rate: c.Rate, Timelines: c.Timelines, Messages: c.Messages, Payload: c.Payload, Page: c.Page}
	for _, mode := range c.Modes {
		for _, level := range c.Levels {
			for _, node := range b.nodes {
				measured, err := b.measure(ctx, mode, level, node)
				if err != nil {
					return nil, fmt.Errorf("%s, %s, %s: %w", mode, level, node.role, err)
				}
				report.Runs = append(report.Runs, measured)
				b.say("%s, %s, %s: %.0f messages/s", mode, level, node.role, measured.Messages)
			}
		}
	}
	return report, nil
}

type readBench struct {
	ReadConfig
	nodes []readNode
	// begun and ended are server times: at each time from the one up to the other every
	// timeline has a message that is as late or later.
	begun, ended time.Time
}

// readNode is a node that is asked.
type readNode struct {
	endpoint, role string
}

func (b *readBench) say(format string, args ...any) {
	if b.Progress != nil {
		b.Progress(fmt.Sprintf(format, args...))
	}
}

func (b *readBench) timeline(n int) tidemark.TimelineID {
	return tidemark.TimelineID(fmt.Sprintf("%s/%d", b.Prefix, n))
}

// prepare appends all messages, and finds a leader and a follower that hold them.
func (b *readBench) prepare(ctx context.Context) error {
	writer, err := client.New(b.Endpoints)
	if err != nil {
		return err
	}
	defer writer.Close()
	if err := b.fill(ctx, writer); err != nil {
		return err
	}
	for timeline, err := range writer.Timelines(ctx, b.Prefix) {
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
	status, err := writer.Cluster().Status(ctx)
	if err != nil {
		return err
	}
	b.nodes = []readNode{{status.GetLeaderClientAddress(), "leader"}}
	for _, endpoint := range b.Endpoints {
		if endpoint != status.GetLeaderClientAddress() {
			b.nodes = append(b.nodes, readNode{endpoint, "follower"})
			break
		}
	}
	return nil
}

// fillers is how many appends are under way while the timelines are filled.
const fillers = 256

func (b *readBench) fill(ctx context.Context, writer *client.Client) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	payload := make([]byte, b.Payload)
	for i := range payload {
		payload[i] = byte(rand.Uint32())
	}
	next := make(chan int)
	var appending sync.WaitGroup
	for range fillers {
		appending.Go(func() {
			for n := range next {
				if _, err := writer.Append(ctx, client.Draft{Timeline: b.timeline(n), Sender: "bench", Payload: payload}); err != nil {
					cancel(err)
				}
			}
		})
	}
	for range b.Messages {
		for n := range b.Timelines {
			select {
			case next <- n:
			case <-ctx.Done():
			}
		}
	}
	close(next)
	appending.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("fill the timelines: %w", context.Cause(ctx))
	}
	b.say("appended %d messages to %d timelines", b.Messages*b.Timelines, b.Timelines)
	return nil
}

func (b *readBench) measure(ctx context.Context, mode, level string, node readNode) (m ReadMeasure, err error) {
	c, err := client.New([]string{node.endpoint}, client.WithoutDiscovery())
	if err != nil {
		return m, err
	}
	defer c.Close()
	// A session has seen what was appended, so that a read at its level is as the writer's.
	if _, err := c.Timeline(ctx, b.timeline(b.Timelines-1)); err != nil {
		return m, err
	}
	at := readLevels[level]()
	var mu sync.Mutex
	read, calls := 0, 0
	m.Mode, m.Level, m.Role = mode, level, node.role
	m.Measured, err = b.Run(ctx, func(ctx context.Context, _ int) error {
		page, err := c.Read(ctx, b.timeline(rand.IntN(b.Timelines)), b.place(mode), client.Limit(b.Page), at)
		if err == nil && len(page.Messages) == 0 {
			err = fmt.Errorf("a page of %s is empty", page.Timeline.ID)
		}
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		read, calls = read+len(page.Messages), calls+1
		return nil
	}, nil, nil)
	if calls > 0 {
		// Pages near the end are shorter.
		m.Messages = m.PerSecond * float64(read) / float64(calls)
	}
	return m, err
}

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
