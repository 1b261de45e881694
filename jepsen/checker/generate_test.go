package checker

import (
	"cmp"
	"container/heap"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sort"
	"time"

	"tidemark/jepsen/history"
)

// workload says what the simulated clients do.
type workload struct {
	seed       uint64
	operations int
	processes  int
	timelines  int
	pageLimit  int
}

func small(seed uint64) workload {
	return workload{seed: seed, operations: 1500, processes: 12, timelines: 4, pageLimit: 20}
}

// simulation is a correct store in virtual time, and its clients. Its state changes
// at one instant of each operation, its nodes lag behind, answers get lost and are
// asked for again, and operations of unknown outcome happen late or never.
type simulation struct {
	w         workload
	rand      *rand.Rand
	now       time.Duration
	events    eventQueue
	scheduled int
	begun     int

	timelines []*simTimeline
	// commits holds the time of each log index, from 1.
	commits []time.Duration
	nodes   []*simNode
	seen    map[string]uint64
	ops     []*history.Operation
	process int64
}

type simNode struct {
	name    string
	applied uint64
}

type simTimeline struct {
	name     string
	messages []history.Seen
	// index is the log index of each message.
	index   []uint64
	ids     map[string]int
	cursors map[string]*[]simMark
	sent    []history.Item
	// senders are those of messages.
	senders []string
}

// simMark is a cursor as of a log index.
type simMark struct {
	index           uint64
	delivered, read uint64
}

type event struct {
	at    time.Duration
	order int
	do    func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].at, q[j].at), cmp.Compare(q[i].order, q[j].order)) < 0
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	*q = (*q)[:last]
	return e
}

const (
	simLag    = 40 * time.Millisecond
	simReader = "reader-"
)

// generate makes a history that is right.
func generate(w workload) *history.History {
	s := &simulation{w: w, rand: rand.New(rand.NewPCG(w.seed, 17)), seen: make(map[string]uint64)}
	for i := range w.timelines {
		s.timelines = append(s.timelines, &simTimeline{name: fmt.Sprintf("conv/%d", i), ids: make(map[string]int), cursors: make(map[string]*[]simMark)})
	}
	for i := range 3 {
		s.nodes = append(s.nodes, &simNode{name: fmt.Sprintf("n%d", i+1)})
	}
	for i := range w.processes {
		s.process++
		process := s.process
		s.after(s.delay(), func() { s.start(process, fmt.Sprintf("client-%d", i%4)) })
	}
	for s.events.Len() > 0 {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.do()
	}
	loadEnd := s.now
	s.now += time.Second
	s.followAll()
	s.feedAll()
	s.reviseAll()
	s.fanOutAll()
	s.keepAll()
	s.readBack()
	h := &history.History{Meta: history.Meta{Name: "simulated", Seed: w.seed, Nodes: []string{"n1", "n2", "n3"}}}
	slices.SortFunc(s.ops, func(a, b *history.Operation) int {
		return cmp.Or(cmp.Compare(a.Invoked, b.Invoked), cmp.Compare(a.ID, b.ID))
	})
	for _, op := range s.ops {
		h.Operations = append(h.Operations, *op)
	}
	h.Faults = []history.Fault{{Name: "kill", Target: "n2", From: loadEnd / 4, To: loadEnd / 2}}
	for at := time.Duration(0); at < loadEnd; at += loadEnd / 40 {
		for i, n := range s.nodes {
			h.Samples = append(h.Samples, history.Sample{At: at, Node: n.name, Term: 1, Leader: "n1",
				MemoryBytes: 100<<20 + s.rand.IntN(1<<20), Goroutines: 90 + i, FileDescriptors: 60 + s.rand.IntN(20)})
		}
	}
	for _, n := range s.nodes {
		var previous uint64
		for index := range uint64(20) {
			e := history.LogEntry{Node: n.name, Index: index + 1, Term: 1 + index/7, PreviousTerm: previous, Hash: fmt.Sprint("hash-", index)}
			h.Logs, previous = append(h.Logs, e), e.Term
		}
	}
	return h
}

func (s *simulation) after(d time.Duration, do func()) {
	s.scheduled++
	heap.Push(&s.events, event{s.now + d, s.scheduled, do})
}

func (s *simulation) delay() time.Duration {
	return time.Duration(1+s.rand.IntN(8000)) * time.Microsecond
}

// commit takes the next log index.
func (s *simulation) commit() uint64 {
	s.commits = append(s.commits, s.now)
	return uint64(len(s.commits))
}

// start begins the next operation of a process.
func (s *simulation) start(process int64, client string) {
	if s.begun >= s.w.operations {
		return
	}
	s.begun++
	op := &history.Operation{ID: int64(s.begun), Process: process, Client: client, Invoked: s.now, Outcome: history.OK}
	s.ops = append(s.ops, op)
	t := s.timelines[min(s.rand.IntN(s.w.timelines), s.rand.IntN(s.w.timelines))]
	effect := s.choose(op, t)
	next := func() {
		op.Completed = s.now
		if op.Outcome != history.Unknown {
			s.seen[client] = max(s.seen[client], op.Position)
		} else {
			s.process++
			process = s.process
		}
		s.after(s.delay()/4, func() { s.start(process, client) })
	}
	writes := len(op.Items) > 0 || op.Kind == history.KindAck
	switch {
	case writes && s.rand.IntN(20) == 0:
		s.loseAnswer(op, effect, next)
	case writes && s.rand.IntN(40) == 0:
		refuse(op)
		s.after(s.delay(), next)
	default:
		s.after(s.delay(), func() {
			effect(op)
			if len(op.Items) > 0 && op.Via != history.ViaUnary && s.rand.IntN(15) == 0 {
				// The answer was lost, and the client asks again by itself.
				s.after(s.delay(), func() { effect(op); s.after(s.delay(), next) })
				return
			}
			s.after(s.delay(), next)
		})
	}
}

// refuse lets an operation fail for sure.
func refuse(op *history.Operation) {
	op.Outcome, op.Error = history.Fail, "OVERLOADED"
	for i := range op.Items {
		op.Items[i].Outcome, op.Items[i].Error = history.Fail, "OVERLOADED"
	}
}

// loseAnswer lets the outcome be unknown, and the effect happen at any time or never.
func (s *simulation) loseAnswer(op *history.Operation, effect func(*history.Operation), next func()) {
	if s.rand.IntN(2) == 0 {
		hidden := *op
		hidden.Items = slices.Clone(op.Items)
		s.after(s.delay()*time.Duration(1+s.rand.IntN(10)), func() { effect(&hidden) })
	}
	op.Outcome, op.Error = history.Unknown, "OUTCOME_UNKNOWN"
	for i := range op.Items {
		op.Items[i].Outcome = history.Unknown
	}
	s.after(s.delay(), next)
}

// choose fills in what the operation asks for, and returns what it does.
func (s *simulation) choose(op *history.Operation, t *simTimeline) func(*history.Operation) {
	op.Timeline = t.name
	switch n := s.rand.IntN(100); {
	case n < 50:
		op.Kind, op.Via = history.KindAppend, []string{history.ViaUnary, history.ViaStream}[s.rand.IntN(2)]
		op.Items = []history.Item{s.item(op, t)}
		return s.appendItems
	case n < 58:
		op.Kind, op.Via, op.Timeline = history.KindBatch, []string{history.ViaBatch, history.ViaAtomic}[s.rand.IntN(2)], ""
		for range 2 + s.rand.IntN(4) {
			to := t
			if s.rand.IntN(3) == 0 {
				to = s.timelines[s.rand.IntN(len(s.timelines))]
			}
			op.Items = append(op.Items, s.fresh(op, to))
		}
		return s.appendItems
	case n < 78:
		op.Kind, op.Limit = history.KindRead, 1+s.rand.IntN(s.w.pageLimit)
		op.Start = []string{history.FromSeq, history.BeforeSeq, history.Newest}[s.rand.IntN(3)]
		if op.Start != history.Newest {
			op.From = 1 + uint64(s.rand.IntN(len(t.messages)+2))
		}
		op.Direction = history.Backward
		if op.Start == history.FromSeq && s.rand.IntN(3) > 0 {
			op.Direction = history.Forward
		}
	case n < 82:
		op.Kind = history.KindHead
	case n < 86:
		op.Kind = history.KindGet
		if s.rand.IntN(2) == 0 || len(t.sent) == 0 {
			op.From = 1 + uint64(s.rand.IntN(len(t.messages)+2))
		} else {
			op.MessageID = t.sent[s.rand.IntN(len(t.sent))].MessageID
		}
	case n < 94:
		return s.chooseAck(op, t)
	default:
		op.Kind = history.KindCursors
		op.Level = []string{history.Linearizable, history.Local}[s.rand.IntN(2)]
		if s.rand.IntN(2) == 0 {
			op.Timeline, op.Reader = "", fmt.Sprint(simReader, s.rand.IntN(3))
		}
		return s.listCursors
	}
	s.level(op)
	return s.read
}

func (s *simulation) level(op *history.Operation) {
	op.Level = []string{history.Linearizable, history.Linearizable, history.Session, history.Local}[s.rand.IntN(4)]
	op.Node = s.nodes[s.rand.IntN(3)].name
	switch {
	case op.Level == history.Session && s.rand.IntN(2) == 0:
		op.SessionAt = s.seen[op.Client]
	case op.Level == history.Local && s.rand.IntN(2) == 0:
		op.MaxStaleness = 2 * simLag
	}
}

// fresh is an item under an id of its own.
func (s *simulation) fresh(op *history.Operation, t *simTimeline) history.Item {
	item := history.Item{
		Timeline: t.name, MessageID: fmt.Sprintf("m-%d-%d", op.ID, len(op.Items)), Content: s.rand.Uint64(),
		Sender: fmt.Sprint(simReader, op.ID%4),
	}
	t.sent = append(t.sent, item)
	return item
}

// item is one that may be sent again by others, may conflict, or may be conditional.
func (s *simulation) item(op *history.Operation, t *simTimeline) history.Item {
	if n := s.rand.IntN(10); n == 0 && len(t.sent) > 0 {
		item := t.sent[len(t.sent)-1-s.rand.IntN(min(len(t.sent), 8))]
		if s.rand.IntN(4) == 0 {
			item.Content++
		}
		return item
	} else if n == 1 {
		expected := uint64(max(0, len(t.messages)-s.rand.IntN(2)))
		item := s.fresh(op, t)
		item.Expected = &expected
		return item
	}
	return s.fresh(op, t)
}

func (s *simulation) timeline(name string) *simTimeline {
	return s.timelines[slices.IndexFunc(s.timelines, func(t *simTimeline) bool { return t.name == name })]
}

// appendItems is the state machine's append. An item that cannot be done fails
// alone, or with it the whole batch if that is atomic.
func (s *simulation) appendItems(op *history.Operation) {
	index := s.commit()
	op.Position = index
	if op.Via == history.ViaAtomic && slices.ContainsFunc(op.Items, s.conflicts) {
		op.Outcome, op.Error = history.Fail, "BATCH_ABORTED"
		for i := range op.Items {
			op.Items[i].Outcome, op.Items[i].Error = op.Outcome, op.Error
		}
		return
	}
	for i := range op.Items {
		item := &op.Items[i]
		t := s.timeline(item.Timeline)
		last := uint64(len(t.messages))
		at, known := t.ids[item.MessageID]
		item.Outcome, item.Position = history.OK, index
		switch {
		case known && t.messages[at].Content != item.Content:
			item.Outcome, item.Error = history.Fail, history.MessageIDConflict
		case known:
			item.Duplicate = true
		case item.Expected != nil && *item.Expected != last:
			item.Outcome, item.Error = history.Fail, history.SequenceConflict
		default:
			at = len(t.messages)
			t.ids[item.MessageID] = at
			t.senders = append(t.senders, item.Sender)
			m := history.Seen{SeqID: last + 1, MessageID: item.MessageID, Content: item.Content, ServerTime: 1_000_000 + int64(s.now)}
			m.Digest = chain(t, last, item.MessageID)
			t.messages, t.index = append(t.messages, m), append(t.index, index)
		}
		if item.Outcome == history.OK {
			m := t.messages[at]
			item.SeqID, item.Digest, item.ServerTime = m.SeqID, m.Digest, m.ServerTime
		}
	}
	if op.Kind == history.KindAppend {
		op.Outcome, op.Error = op.Items[0].Outcome, op.Items[0].Error
	}
}

// conflicts reports whether the item's id stands for other content.
func (s *simulation) conflicts(item history.Item) bool {
	t := s.timeline(item.Timeline)
	at, known := t.ids[item.MessageID]
	return known && t.messages[at].Content != item.Content
}

func chain(t *simTimeline, last uint64, id string) string {
	h := fnv.New64a()
	fmt.Fprint(h, digestAt(t, last), id)
	return fmt.Sprintf("%016x", h.Sum64())
}

func digestAt(t *simTimeline, last uint64) string {
	if last == 0 {
		return "initial"
	}
	return t.messages[last-1].Digest
}

// catchUp moves a node to where the level lets it answer.
func (s *simulation) catchUp(op *history.Operation, n *simNode) {
	switch op.Level {
	case history.Linearizable:
		n.applied = uint64(len(s.commits))
	case history.Session:
		n.applied = max(n.applied, op.SessionAt)
		if op.SessionAt == 0 {
			n.applied = max(n.applied, s.seen[op.Client])
		}
	default:
		lag := min(s.now, time.Duration(s.rand.Int64N(int64(simLag)))).Truncate(time.Millisecond)
		op.Staleness = lag
		n.applied = max(n.applied, uint64(sort.Search(len(s.commits), func(i int) bool { return s.commits[i] > s.now-lag })))
	}
	op.AppliedIndex = n.applied
	op.Position = max(n.applied, op.SessionAt)
}

// read answers a read, a get or a head.
func (s *simulation) read(op *history.Operation) {
	n := s.nodes[slices.IndexFunc(s.nodes, func(n *simNode) bool { return n.name == op.Node })]
	s.catchUp(op, n)
	t := s.timeline(op.Timeline)
	last := uint64(sort.Search(len(t.index), func(i int) bool { return t.index[i] > n.applied }))
	if last == 0 {
		op.Outcome, op.Error, op.AppliedIndex, op.Position, op.Staleness = history.Fail, history.TimelineNotFound, 0, 0, 0
		return
	}
	if op.Kind == history.KindGet {
		at := op.From
		if op.MessageID != "" {
			found, ok := t.ids[op.MessageID]
			if at = uint64(found) + 1; !ok {
				at = 0
			}
		}
		if at == 0 || at > last {
			op.Outcome, op.Error = history.Fail, history.MessageNotFound
			return
		}
		op.Messages = slices.Clone(t.messages[at-1 : at])
		return
	}
	op.FirstSeqID, op.HeadLast, op.HeadDigest = 1, last, digestAt(t, last)
	if op.Kind == history.KindHead {
		op.AppliedIndex = 0
		return
	}
	s.page(op, t, last)
}

func (s *simulation) page(op *history.Operation, t *simTimeline, last uint64) {
	if op.Direction == history.Forward {
		end := min(last, op.From+uint64(op.Limit)-1)
		if op.From > last {
			return
		}
		op.Messages, op.More = slices.Clone(t.messages[op.From-1:end]), end < last
		op.PreviousDigest = digestAt(t, op.From-1)
		return
	}
	end := last
	switch op.Start {
	case history.BeforeSeq:
		end = min(last, op.From-1)
	case history.FromSeq:
		end = min(last, op.From)
	}
	begin := end - min(end, uint64(op.Limit))
	op.Messages, op.More = slices.Clone(t.messages[begin:end]), begin > 0 && end > 0
	op.PreviousDigest = digestAt(t, begin)
}
