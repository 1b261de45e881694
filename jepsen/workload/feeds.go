package workload

import (
	"context"
	"errors"
	"time"

	"tidemark"
	"tidemark/client"
	"tidemark/jepsen/history"
)

// feeds reads the change feed, and now and then goes on through another door from a
// position that it has got to, which may be amid what one log entry changed.
type feeds struct{}

func (feeds) Name() string { return "changes" }
func (feeds) Threads() int { return 2 }

const (
	// feedStay is the mean time after which a reader goes on through another door.
	feedStay = 2 * time.Second
	// feedRetry is how long a reader without a feed waits before it asks again.
	feedRetry = 100 * time.Millisecond
)

// feeding is one thread of the workload.
type feeding struct {
	*Thread
	timelines map[tidemark.TimelineID]*followed
	position  tidemark.ChangePosition
	// late says that the cluster did not keep a feed from its first message on, so that a
	// timeline may begin anywhere.
	late bool
}

func (feeds) Run(ctx context.Context, t *Thread) {
	w := &feeding{Thread: t, timelines: map[tidemark.TimelineID]*followed{}}
	for _, name := range t.Board.Timelines() {
		w.timelines[tidemark.TimelineID(name)] = &followed{
			process: t.Recorder.NewProcess("changes"), digest: tidemark.InitialDigest(tidemark.TimelineID(name)),
		}
	}
	for !t.Stopped() && ctx.Err() == nil {
		t.enterAny(anyDoor)
		until := time.Now().Add(feedStay/2 + time.Duration(t.rand.Int64N(int64(feedStay))))
		w.through(ctx, func() bool { return t.Stopped() || time.Now().After(until) || !t.isOpen() })
	}
	w.finish(ctx)
}

// through reads through the thread's door until done says so. What came last it takes only
// a part of, and goes on behind that the next time.
func (w *feeding) through(ctx context.Context, done func() bool) {
	feed, err := w.door.SDK.Changes(client.ChangesFrom(w.position))
	if err != nil {
		return
	}
	defer feed.Close()
	for ctx.Err() == nil {
		looking, cancel := context.WithTimeout(ctx, tailLook)
		batch, err := feed.Next(looking)
		cancel()
		ended := done()
		switch {
		case err == nil && ended && len(batch.Changes) > 0:
			some := batch.Changes[:1+w.rand.IntN(len(batch.Changes))]
			w.got(some, some[len(some)-1].Position)
		case err == nil:
			w.got(batch.Changes, batch.Position)
		case errors.Is(err, tidemark.ErrUpgradeIncomplete):
			w.late = true
			select {
			case <-ctx.Done():
			case <-time.After(feedRetry):
			}
			return
		case !errors.Is(err, context.DeadlineExceeded):
			return
		}
		if ended {
			return
		}
	}
}

// got records the messages of each timeline.
func (w *feeding) got(changes []client.Change, position tidemark.ChangePosition) {
	operations := map[tidemark.TimelineID]*history.Operation{}
	words := map[tidemark.TimelineID][]tidemark.Message{}
	for i := range changes {
		c := &changes[i]
		f := w.timelines[c.Timeline]
		if f == nil || c.Kind != tidemark.ChangeAppended {
			continue
		}
		op := operations[c.Timeline]
		if op == nil {
			started := ""
			if w.late && f.last == 0 && c.SeqID > 1 {
				f.last, started = uint64(c.SeqID)-1, history.FromSeq
			}
			op = f.process.Begin(history.Operation{Node: w.door.Node, Kind: history.KindChanges, Timeline: string(c.Timeline), Start: started, From: f.last})
			operations[c.Timeline] = op
		}
		seen, message := history.Seen{SeqID: uint64(c.SeqID)}, tidemark.Message{}
		if c.Message != nil {
			seen, message = seenOf(c.Message)
		}
		op.Messages = append(op.Messages, seen)
		// The position is the place behind the change: that of the next one.
		op.Places = append(op.Places, history.Place{Index: c.Position.Index, Offset: c.Position.Offset})
		words[c.Timeline] = append(words[c.Timeline], message)
	}
	for name, op := range operations {
		f := w.timelines[name]
		if op.Start == "" {
			op.BadDigest = history.FirstBadDigest(f.digest, words[name])
		}
		newest := words[name][len(words[name])-1]
		op.Outcome = history.OK
		f.last, f.digest = op.Messages[len(op.Messages)-1].SeqID, newest.Digest
		f.process.End(op)
		w.Tally.count(op)
	}
	w.position = position
}

// finish goes on until it has got what is there when the load has ended, and records
// what was missing then.
func (w *feeding) finish(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tailEndPatience)
	defer cancel()
	w.enterAny(func(d *Door) bool { return d.Node == "" })
	heads := map[tidemark.TimelineID]uint64{}
	for name := range w.timelines {
		head, err := w.door.SDK.Timeline(ctx, name)
		if err == nil {
			heads[name] = uint64(head.Last)
		} else if !errors.Is(err, tidemark.ErrTimelineNotFound) {
			return // not one node serves: another checker tells
		}
	}
	complete := func() bool {
		for name, last := range heads {
			if w.timelines[name].last < last && !(w.late && w.timelines[name].last == 0) {
				return false
			}
		}
		return true
	}
	for !complete() && ctx.Err() == nil {
		w.through(ctx, complete)
	}
	for name, last := range heads {
		f := w.timelines[name]
		if w.late && f.last == 0 {
			continue // nothing was appended since the feed began
		}
		op := f.process.Begin(history.Operation{Node: w.door.Node, Kind: history.KindChangesEnd, Timeline: string(name), From: f.last})
		op.HeadLast, op.Outcome = last, history.OK
		f.process.End(op)
	}
}
