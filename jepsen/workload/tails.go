package workload

import (
	"context"
	"errors"
	"time"

	"tidemark"
	"tidemark/client"
	"tidemark/jepsen/history"
)

// tails follows all timelines on one stream, and now and then goes on through another
// door, behind the last messages that it got.
type tails struct{}

func (tails) Name() string { return "tail" }
func (tails) Threads() int { return 2 }

const (
	// tailLook is how often a tail without events looks around.
	tailLook = 200 * time.Millisecond
	// tailStay is the mean time after which a tail goes on through another door.
	tailStay = 10 * time.Second
	// tailEndPatience is how long a tail may take to get what is there at the end.
	tailEndPatience = 30 * time.Second
)

// followed is one timeline as a tail has got it.
type followed struct {
	process *history.Process
	// last is the SeqID of its last message, and digest what that closes the chain with.
	last   uint64
	digest tidemark.Digest
}

func (tails) Run(ctx context.Context, t *Thread) {
	t.tail(ctx, t.Board.Timelines(), history.KindTail, history.KindTailEnd)
}

// tail follows the timelines until the load ends, and records operations of the kinds.
func (t *Thread) tail(ctx context.Context, timelines []string, kind, end history.Kind) {
	w := &tailing{Thread: t, kind: kind, end: end, timelines: map[string]*followed{}}
	for _, name := range timelines {
		w.timelines[name] = &followed{
			process: t.Recorder.NewProcess("tail"), digest: tidemark.InitialDigest(tidemark.TimelineID(name)),
		}
	}
	for !t.Stopped() && ctx.Err() == nil {
		t.enterAny(anyDoor)
		until := time.Now().Add(tailStay/2 + time.Duration(t.rand.Int64N(int64(tailStay))))
		w.through(ctx, func() bool { return t.Stopped() || time.Now().After(until) || !t.isOpen() })
	}
	w.finish(ctx)
}

// isOpen reports whether the door that the thread went through is still there.
func (t *Thread) isOpen() bool {
	for _, door := range t.Doors() {
		if door == t.door {
			return true
		}
	}
	return false
}

// tailing is one thread of the workload.
type tailing struct {
	*Thread
	kind, end history.Kind
	timelines map[string]*followed
}

// through follows through the thread's door until done says so.
func (w *tailing) through(ctx context.Context, done func() bool) {
	tail, err := w.door.SDK.Tail()
	if err != nil {
		return
	}
	defer tail.Close()
	for name, f := range w.timelines {
		if _, err := tail.Follow(tidemark.TimelineID(name), client.After(tidemark.SeqID(f.last))); err != nil {
			return
		}
	}
	for !done() && ctx.Err() == nil {
		looking, cancel := context.WithTimeout(ctx, tailLook)
		event, err := tail.Next(looking)
		cancel()
		switch {
		case err == nil && len(event.Messages) > 0:
			w.got(&event)
		case err != nil && !errors.Is(err, context.DeadlineExceeded):
			return
		}
	}
}

// got records messages of one timeline.
func (w *tailing) got(event *client.TailEvent) {
	name := string(event.Subscription.Timeline)
	f := w.timelines[name]
	op := f.process.Begin(history.Operation{Node: w.door.Node, Kind: w.kind, Timeline: name, From: f.last})
	words := make([]tidemark.Message, len(event.Messages))
	for i := range event.Messages {
		var seen history.Seen
		seen, words[i] = seenOf(&event.Messages[i])
		op.Messages = append(op.Messages, seen)
	}
	op.BadDigest = history.FirstBadDigest(f.digest, words)
	op.Outcome = history.OK
	newest := &event.Messages[len(event.Messages)-1]
	f.last, f.digest = uint64(newest.SeqID), newest.Digest
	f.process.End(op)
	w.Tally.count(op)
	w.Board.reached(name, f.last)
}

// finish goes on until it has got what is there when the load has ended, and records
// what was missing then.
func (w *tailing) finish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tailEndPatience)
	defer cancel()
	w.enterAny(func(d *Door) bool { return d.Node == "" })
	heads := map[string]uint64{}
	for name := range w.timelines {
		head, err := w.door.SDK.Timeline(ctx, tidemark.TimelineID(name))
		if err == nil {
			heads[name] = uint64(head.Last)
		} else if !errors.Is(err, tidemark.ErrTimelineNotFound) {
			return // not one node serves: another checker tells
		}
	}
	complete := func() bool {
		for name, last := range heads {
			if w.timelines[name].last < last {
				return false
			}
		}
		return true
	}
	w.through(ctx, complete)
	for name, last := range heads {
		f := w.timelines[name]
		op := f.process.Begin(history.Operation{Node: w.door.Node, Kind: w.end, Timeline: name, From: f.last})
		op.HeadLast, op.Outcome = last, history.OK
		f.process.End(op)
	}
}
