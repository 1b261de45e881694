package bench

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"tidemark"
	"tidemark/client"
)

// GrowthStep is what was measured at one size.
type GrowthStep struct {
	// Messages are how many there were when reads and appends were measured, in so many
	// timelines of those that are read, with so many bytes each.
	Messages  int64 `json:"messages"`
	Timelines int   `json:"timelines"`
	Payload   int   `json:"payload_bytes"`
	Tails     int   `json:"tails"`
	// Fill is what it took to come here from the step before.
	Fill GrowthFill `json:"fill"`
	// Calls are measured one after the other: appends are last, since they change what is there.
	Calls []GrowthCall `json:"calls"`
	Space GrowthSpace  `json:"space"`
	// Times are nil if they were not measured.
	Times *GrowthTimes `json:"times,omitempty"`
}

// GrowthFill is what appends in batches cost, with the compactions behind them.
type GrowthFill struct {
	Messages int           `json:"messages"`
	Took     time.Duration `json:"took_ns"`
	// PerSecond does not count the compactions, Servers does.
	PerSecond float64   `json:"messages_per_second"`
	Servers   ServerUse `json:"servers"`
	// LogBytes are what each node's Raft log got for a message, and Written all that a node
	// wrote; Amplification is that for each byte of payload.
	LogBytes      float64 `json:"log_bytes_per_message"`
	Written       float64 `json:"written_bytes_per_message"`
	Amplification float64 `json:"written_bytes_per_payload_byte"`
}

// GrowthCall is a kind of call that was measured.
type GrowthCall struct {
	// Call is one of GrowthCalls.
	Call string `json:"call"`
	Run
}

// The calls.
const (
	GrowthAppend  = "append"
	GrowthNewest  = "newest page"
	GrowthForward = "forward page"
)

// GrowthCalls are all of them, in the order in which they are shown.
func GrowthCalls() []string { return []string{GrowthAppend, GrowthNewest, GrowthForward} }

// step grows the cluster to a size, and measures it.
func (g *growing) step(ctx context.Context, s size) (step GrowthStep, err error) {
	if step.Fill, err = g.grow(ctx, s); err != nil {
		return step, err
	}
	leader, follower, err := g.leader(ctx)
	if err != nil {
		return step, err
	}
	closeTails, err := g.openTails(ctx, follower, s)
	if err != nil {
		return step, err
	}
	defer closeTails()
	step.Messages, step.Timelines, step.Payload, step.Tails = g.messages.Load(), s.timelines, s.payload, s.tails
	if step.Space.Store, err = g.stored(); err != nil {
		return step, err
	}
	step.Space.StorePerMessage = step.Space.Store / float64(step.Messages)
	g.say("%d messages of %d bytes in %d timelines, %d tails", step.Messages, s.payload, s.timelines, s.tails)
	for _, name := range []string{GrowthNewest, GrowthForward, GrowthAppend} {
		call, err := g.call(ctx, leader, s, name)
		if err != nil {
			return step, fmt.Errorf("%s: %w", name, err)
		}
		g.say("  %s: %.0f/s, p50 %s, p99 %s, CPU %s", name, call.PerSecond, rounded(call.Latency.P50), rounded(call.Latency.P99), rounded(call.Servers.Processor))
		step.Calls = append(step.Calls, call)
	}
	if err := g.memory(ctx, &step.Space); err != nil {
		return step, err
	}
	if s.long {
		step.Times, err = g.times(ctx, s)
		step.Space.Peak = max(step.Space.Peak, g.peak())
	}
	return step, err
}

// grow fills the timelines that are missing, and measures that until nothing is left to do.
func (g *growing) grow(ctx context.Context, s size) (f GrowthFill, err error) {
	f.Messages = (s.timelines - g.timelines) * s.each
	if f.Messages <= 0 {
		return f, nil
	}
	// What was measured before is not to be written at the expense of this.
	if err := g.settle(ctx); err != nil {
		return f, err
	}
	before, err := sampleServers(ctx, g.HTTP)
	if err != nil {
		return f, err
	}
	begin, first := time.Now(), g.timelines
	missing := roundRobin(s.timelines-first, s.each, func(i int) tidemark.TimelineID { return g.timeline(first + i) })
	if err := g.add(ctx, g.told(missing, f.Messages), s.payload); err != nil {
		return f, err
	}
	f.Took = time.Since(begin)
	g.timelines = s.timelines
	if err := g.settle(ctx); err != nil {
		return f, err
	}
	after, err := sampleServers(ctx, g.HTTP)
	if err != nil {
		return f, err
	}
	used, messages, nodes := after.since(before), float64(f.Messages), float64(len(g.HTTP))
	f.PerSecond = messages / f.Took.Seconds()
	f.Servers = used.per("message", messages)
	f.LogBytes, f.Written = used.logged/messages/nodes, used.written/messages/nodes
	f.Amplification = f.Written / float64(s.payload)
	g.say("%d messages in %v, %.0f/s", f.Messages, f.Took.Round(time.Millisecond), f.PerSecond)
	return f, nil
}

// add appends a message to each of the timelines, as often as it comes.
func (g *growing) add(ctx context.Context, timelines iter.Seq[tidemark.TimelineID], payload int) error {
	size := min(fillMessages, max(fillBytes/payload, 1))
	return inParallel(ctx, fillers, inBatches(timelines, size, func(timeline tidemark.TimelineID) client.Draft { return g.draft(timeline, payload) }), func(ctx context.Context, batch []client.Draft) error {
		// That a stall makes it slow is seen in how long all took.
		ctx, cancel := context.WithTimeout(ctx, longTimeout)
		defer cancel()
		_, err := g.writer.AppendBatch(ctx, batch)
		if err == nil {
			g.messages.Add(int64(len(batch)))
		}
		return err
	})
}

// randomBytes is how many there are for payloads to be taken from.
const randomBytes = 16 << 20

// draft is a message whose payload does not compress, nor together with others.
func (g *growing) draft(timeline tidemark.TimelineID, payload int) client.Draft {
	at := rand.IntN(len(g.random) - payload + 1)
	return client.Draft{Timeline: timeline, Sender: sender, Payload: g.random[at : at+payload]}
}

// toldEvery is how often it is told how far the cluster is filled.
const toldEvery = 10 * time.Second

// told passes the timelines on, and tells how many were.
func (g *growing) told(timelines iter.Seq[tidemark.TimelineID], n int) iter.Seq[tidemark.TimelineID] {
	return func(yield func(tidemark.TimelineID) bool) {
		passed, last := 0, time.Now()
		for timeline := range timelines {
			if passed++; passed%1024 == 0 && time.Since(last) >= toldEvery {
				last = time.Now()
				g.say("  %d of %d messages", passed, n)
			}
			if !yield(timeline) {
				return
			}
		}
	}
}

// anyTimelines yields n of the timelines by number.
func (g *growing) anyTimelines(n int) iter.Seq[tidemark.TimelineID] {
	return func(yield func(tidemark.TimelineID) bool) {
		for range n {
			if !yield(g.timeline(rand.IntN(g.timelines))) {
				return
			}
		}
	}
}

// call measures one kind of call.
func (g *growing) call(ctx context.Context, leader askedNode, s size, name string) (c GrowthCall, err error) {
	c.Call = name
	switch name {
	case GrowthAppend:
		c.Run, err = g.appends(ctx, s)
	case GrowthNewest:
		c.Run, err = g.reads(ctx, leader, s, ReadNewest)
	case GrowthForward:
		c.Run, err = g.reads(ctx, leader, s, ReadForward)
	}
	c.Repeat = 1
	return c, err
}

// appends measures single appends by the SDK to random timelines.
func (g *growing) appends(ctx context.Context, s size) (r Run, err error) {
	c, err := client.New(g.Endpoints)
	if err != nil {
		return r, err
	}
	defer c.Close()
	var used nodeSample
	r.Measured, used, err = g.run(ctx, func(ctx context.Context, _ int) error {
		_, err := c.Append(ctx, g.draft(g.timeline(rand.IntN(s.timelines)), s.payload))
		if err == nil {
			g.messages.Add(1)
		}
		return err
	})
	r.Servers = used.per("message", float64(r.Calls))
	return r, err
}

// reads measures linearizable reads of pages of random timelines, on the leader.
func (g *growing) reads(ctx context.Context, leader askedNode, s size, mode string) (Run, error) {
	b := &readBench{ReadConfig: ReadConfig{Plan: g.Plan, Timelines: s.timelines, Messages: s.each, Payload: s.payload, Page: s.page}}
	m := ReadMeasure{Mode: mode, Level: "linearizable", Role: leader.role()}
	if err := b.measure(ctx, &m, leader); err != nil {
		return m.Run, err
	}
	u, page := &m.Servers, m.Messages/m.PerSecond
	u.Per, u.Processor = "page", time.Duration(float64(u.Processor)*page)
	u.Written, u.Syncs = u.Written*page, u.Syncs*page
	return m.Run, nil
}
