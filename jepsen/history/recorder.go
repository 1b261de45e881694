package history

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// chunkSize is how many operations are kept in one piece of memory, so that none
// is copied when the number of operations grows.
const chunkSize = 4096

// Recorder records operations as they happen. All methods may be called at the
// same time from many goroutines. It costs about a microsecond for an operation.
type Recorder struct {
	meta  Meta
	begun time.Time

	mu            sync.Mutex
	lastOperation int64
	lastProcess   int64
	// open are the operations without an end, as they were begun.
	open map[int64]Operation
	// ended are chunks of chunkSize operations, the last one not yet full. It stays
	// empty when operations are spilled.
	ended   [][]Operation
	faults  []Fault
	samples []Sample
	logs    []LogEntry
	spill   *Writer
	failure error

	words interner
}

// NewRecorder starts the clock of a run. Meta.Started is set unless it is given.
func NewRecorder(meta Meta) *Recorder {
	now := time.Now()
	if meta.Started.IsZero() {
		meta.Started = now.UTC().Round(0)
	}
	return &Recorder{meta: meta, begun: now, open: make(map[int64]Operation)}
}

// NewSpillingRecorder starts the clock of a run whose operations, faults, samples
// and logs are written as they end, and not kept in memory. Close ends the file; read it with Read.
func NewSpillingRecorder(meta Meta, path string) (*Recorder, error) {
	r := NewRecorder(meta)
	w, err := Create(path, r.meta)
	if err != nil {
		return nil, err
	}
	r.spill = w
	return r, nil
}

// Now is the time since the run began.
func (r *Recorder) Now() time.Duration { return time.Since(r.begun) }

// Process is one logical client thread. It is used by one goroutine at a time.
type Process struct {
	r      *Recorder
	id     int64
	client string
	busy   int64
}

// NewProcess starts a thread of the named client, see Operation.Client. A client
// that pipelines needs one Process for each operation in flight.
func (r *Recorder) NewProcess(client string) *Process {
	return &Process{r: r, id: r.nextProcess(), client: client}
}

// ID is what Operation.Process of the next operation will be.
func (p *Process) ID() int64 { return p.id }

func (r *Recorder) nextProcess() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastProcess++
	return r.lastProcess
}

// Begin records that the operation is about to be asked for, and returns it with
// ID, Process, Client and Invoked filled in. Call it right before the call that it
// speaks of. It panics if the process has an operation without an end.
func (p *Process) Begin(op Operation) *Operation {
	if p.busy != 0 {
		panic(fmt.Sprintf("history: process %d begins an operation while operation %d has not ended", p.id, p.busy))
	}
	r := p.r
	op.Process, op.Client, op.Completed = p.id, p.client, NeverEnded
	// What is kept must not change under a reader while the caller fills in the answers.
	kept := op
	kept.Items = slices.Clone(op.Items)
	kept.Outcome = Unknown
	r.mu.Lock()
	r.lastOperation++
	kept.ID = r.lastOperation
	kept.Invoked = r.Now()
	r.open[kept.ID] = kept
	r.mu.Unlock()
	op.ID, op.Invoked = kept.ID, kept.Invoked
	p.busy = op.ID
	return &op
}

// End records how the operation of Begin ended. Call it right after the call that
// it speaks of, with Outcome and the answer filled in; the operation must not be
// changed any more. It panics if the operation is not the one that was begun or has no Outcome.
func (p *Process) End(op *Operation) {
	r := p.r
	op.Completed = r.Now()
	switch {
	case op.ID != p.busy:
		panic(fmt.Sprintf("history: process %d ends operation %d, which is not its open one", p.id, op.ID))
	case op.Outcome != OK && op.Outcome != Fail && op.Outcome != Unknown:
		panic(fmt.Sprintf("history: operation %d ends with outcome %q", op.ID, op.Outcome))
	}
	r.words.operation(op)
	p.busy = 0
	if op.Outcome == Unknown || slices.ContainsFunc(op.Items, func(i Item) bool { return i.Outcome == Unknown }) {
		p.id = r.nextProcess()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, op.ID)
	r.keep(op)
}

// keep stores or spills an ended operation. The caller holds mu.
func (r *Recorder) keep(op *Operation) {
	if r.spill != nil {
		r.note(r.spill.Operation(op))
		return
	}
	last := len(r.ended) - 1
	if last < 0 || len(r.ended[last]) == chunkSize {
		r.ended = append(r.ended, make([]Operation, 0, chunkSize))
		last++
	}
	r.ended[last] = append(r.ended[last], *op)
}

// note keeps the first error of spilling. The caller holds mu.
func (r *Recorder) note(err error) {
	if r.failure == nil {
		r.failure = err
	}
}

// Fault records what a nemesis did, when it is over.
func (r *Recorder) Fault(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spill != nil {
		r.note(r.spill.Fault(f))
		return
	}
	r.faults = append(r.faults, f)
}

// Sample records what a node said about itself.
func (r *Recorder) Sample(s Sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spill != nil {
		r.note(r.spill.Sample(s))
		return
	}
	r.samples = append(r.samples, s)
}

// Log records entries of a node's Raft log.
func (r *Recorder) Log(entries ...LogEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spill == nil {
		r.logs = append(r.logs, entries...)
		return
	}
	for _, e := range entries {
		r.note(r.spill.Log(e))
	}
}

// Amend changes what the run says about itself, such as which nodes are read back.
// A spilled file gets a second meta line, which counts.
func (r *Recorder) Amend(change func(*Meta)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.meta)
	if r.spill != nil {
		r.note(r.spill.Meta(r.meta))
	}
}

// Close spills the operations without an end and ends the file. It returns the
// first error of spilling. Without a file it does nothing.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spill == nil {
		return nil
	}
	for _, op := range r.opened() {
		r.note(r.spill.Operation(&op))
	}
	r.note(r.spill.Close())
	return r.failure
}

// opened are the operations without an end, in order. The caller holds mu.
func (r *Recorder) opened() []Operation {
	open := make([]Operation, 0, len(r.open))
	for _, id := range slices.Sorted(maps.Keys(r.open)) {
		open = append(open, r.open[id])
	}
	return open
}

// History is what was recorded up to now, ordered by Invoked. Operations without an
// end are in it, with outcome Unknown. It is empty but for Meta if operations are spilled.
func (r *Recorder) History() *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := &History{Meta: r.meta}
	var all []*Operation
	for _, chunk := range r.ended {
		for i := range chunk {
			all = append(all, &chunk[i])
		}
	}
	open := r.opened()
	for i := range open {
		all = append(all, &open[i])
	}
	// Pointers are sorted, because an operation is too large to be moved often.
	slices.SortFunc(all, byInvoked)
	h.Operations = make([]Operation, len(all))
	for i, op := range all {
		h.Operations[i] = *op
	}
	h.Faults = slices.Clone(r.faults)
	h.Samples = slices.Clone(r.samples)
	h.Logs = slices.Clone(r.logs)
	return h
}
