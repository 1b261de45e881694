package workload

import (
	"context"
	"fmt"

	"tidemark"
	"tidemark/client"
	"tidemark/jepsen/history"
)

// syncs are devices that pull what is new in several timelines at once, through another
// node every time. A device remembers what it has of each timeline, and acknowledges now
// and then.
//
// What one call shows is recorded as one read of each timeline, all at the same time: so
// everything that holds for pages is checked, and that a timeline which is left out of a
// complete answer had no news.
type syncs struct{}

func (syncs) Name() string { return "sync" }
func (syncs) Threads() int { return 2 }

const (
	// syncTimelines is how many timelines one call asks for, and syncBytes its budget,
	// which is often too small for what there is.
	syncTimelines = 8
	syncBytes     = 8 << 10
	// syncForget is how often a device begins anew in a timeline.
	syncForget = 0.02
)

func (syncs) Run(ctx context.Context, t *Thread) {
	d := &device{
		Thread: t, reader: fmt.Sprintf("device/%d", 1+t.rand.IntN(1<<20)),
		acks: t.Recorder.NewProcess("sync"), places: map[string]*devicePlace{},
	}
	for _, name := range t.Board.Timelines() {
		d.names = append(d.names, name)
		d.places[name] = &devicePlace{process: t.Recorder.NewProcess("sync")}
	}
	for {
		t.enterAny(anyDoor)
		d.sync(ctx)
		if !t.pause(ctx) {
			return
		}
	}
}

// device is one thread of the workload.
type device struct {
	*Thread
	reader string
	// acks acknowledges, as far as the history is concerned.
	acks   *history.Process
	names  []string
	places map[string]*devicePlace
}

// devicePlace is how far a device has come in one timeline.
type devicePlace struct {
	process *history.Process
	last    uint64
	// acknowledged says that last was acknowledged.
	acknowledged bool
	// op is the read under way.
	op *history.Operation
}

func (d *device) sync(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, d.Patience)
	defer cancel()
	request := client.SyncRequest{Reader: tidemark.ReaderID(d.reader), MaxBytes: syncBytes, Limit: maxPage}
	read := history.Operation{
		Node: d.door.Node, Kind: history.KindRead, Level: d.level(), Start: history.FromSeq, Direction: history.Forward, Limit: maxPage,
	}
	ack := history.Operation{Node: d.door.Node, Kind: history.KindAck, Reader: d.reader}
	at := d.consistencyAt(&read)
	d.rand.Shuffle(len(d.names), func(i, j int) { d.names[i], d.names[j] = d.names[j], d.names[i] })
	asked := d.names[:min(syncTimelines, len(d.names))]
	for _, name := range asked {
		place := d.places[name]
		if d.chance(syncForget) {
			place.last, place.acknowledged = 0, true
		}
		if !place.acknowledged && place.last > 0 && d.chance(0.5) {
			request.Acks = append(request.Acks, client.AckItem{Timeline: tidemark.TimelineID(name), Delivered: tidemark.SeqID(place.last)})
			ack.Acks = append(ack.Acks, history.CursorSeen{Timeline: name, Reader: d.reader, Delivered: place.last})
		}
		request.Have = append(request.Have, client.Have{Timeline: tidemark.TimelineID(name), After: tidemark.SeqID(place.last)})
		op := read
		op.Timeline, op.From = name, place.last+1
		place.op = place.process.Begin(op)
	}
	var acking *history.Operation
	if len(ack.Acks) > 0 {
		acking = d.acks.Begin(ack)
	}
	synced, err := d.door.SDK.Sync(ctx, request, at)
	if acking != nil {
		acking.Outcome, acking.Error = writeOutcome(err)
		d.acks.End(acking)
		d.Tally.count(acking)
	}
	if err == nil {
		for _, acked := range ack.Acks {
			d.places[acked.Timeline].acknowledged = true
		}
	}
	shown := map[string]*client.SyncedTimeline{}
	if synced != nil {
		for i := range synced.Timelines {
			shown[string(synced.Timelines[i].Timeline.ID)] = &synced.Timelines[i]
		}
	}
	for _, name := range asked {
		place := d.places[name]
		if place.op.Outcome, place.op.Error = ReadOutcome(err); err == nil {
			d.show(name, place, synced, shown[name])
		}
		place.process.End(place.op)
	}
	d.Tally.count(d.places[asked[0]].op)
}

// consistencyAt is consistency for a device, which is no SDK client: its session is the
// position that it passes.
func (d *device) consistencyAt(op *history.Operation) client.Consistency {
	if op.Level != history.Session {
		return d.consistency(op)
	}
	position := d.door.SDK.Position()
	if position == 0 {
		op.Level = history.Linearizable
		return client.Linearizable()
	}
	op.SessionAt = uint64(position)
	return client.SessionAt(position)
}

// show records what a call says of one timeline: a page; or, if it is left out of a
// complete answer, that it ends where the device is. Nothing is known of one that is left
// out of an answer that is not complete; such a read is recorded as one that failed.
func (d *device) show(name string, place *devicePlace, synced *client.Synced, timeline *client.SyncedTimeline) {
	op := place.op
	switch {
	case timeline == nil && !synced.More:
		op.HeadLast, op.Position, op.AppliedIndex = place.last, uint64(synced.Position), synced.AppliedIndex
		op.Staleness = synced.Staleness
	case timeline == nil || len(timeline.Messages) == 0 && timeline.More:
		op.Outcome, op.Error = history.Fail, "left out"
	default:
		Show(op, &client.Page{
			Messages: timeline.Messages, More: timeline.More, PreviousDigest: timeline.PreviousDigest, Timeline: timeline.Timeline,
			Position: synced.Position, AppliedIndex: synced.AppliedIndex, Staleness: synced.Staleness,
		})
		d.Board.reached(name, op.HeadLast)
		if n := len(timeline.Messages); n > 0 {
			place.last, place.acknowledged = uint64(timeline.Messages[n-1].SeqID), false
		}
	}
}
