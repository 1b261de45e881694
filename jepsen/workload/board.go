package workload

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"tidemark/client"
)

// keptPerTimeline is how many messages of a timeline a Board remembers.
const keptPerTimeline = 64

// Board is what threads tell each other: which timelines there are, and what was
// last acknowledged in each. It serves to choose what to ask for; checkers never
// see it.
type Board struct {
	// Hot are the few timelines to which most goes, Cold the many others.
	hot, cold []string
	lastID    atomic.Uint64

	mu    sync.Mutex
	known map[string]*known
}

// known is of one timeline.
type known struct {
	last   uint64
	recent []client.Draft
}

// NewBoard names the timelines of a run.
func NewBoard(hot, cold int) *Board {
	b := &Board{known: map[string]*known{}}
	for i := range hot {
		b.hot = append(b.hot, fmt.Sprintf("hot/%d", i+1))
	}
	for i := range cold {
		b.cold = append(b.cold, fmt.Sprintf("cold/%d", i+1))
	}
	return b
}

// Timelines are all timelines to which anything may have been appended.
func (b *Board) Timelines() []string { return append(append([]string{}, b.hot...), b.cold...) }

// hotShare is the share of operations that goes to hot timelines.
const hotShare = 0.6

// choose returns a timeline.
func (b *Board) choose(random *rand.Rand) string {
	from := b.cold
	if len(b.cold) == 0 || random.Float64() < hotShare {
		from = b.hot
	}
	return from[random.IntN(len(from))]
}

// nextID returns a message id that was not used in this run.
func (b *Board) nextID() string { return fmt.Sprintf("m%d", b.lastID.Add(1)) }

// sent remembers a draft, whatever became of it.
func (b *Board) sent(draft client.Draft) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.of(string(draft.Timeline))
	if len(k.recent) < keptPerTimeline {
		k.recent = append(k.recent, draft)
		return
	}
	k.recent[rand.IntN(keptPerTimeline)] = draft
}

// reached remembers that a timeline has a message with the SeqID.
func (b *Board) reached(timeline string, seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.of(timeline)
	k.last = max(k.last, seq)
}

// last is the largest SeqID that anyone was told of, or 0.
func (b *Board) last(timeline string) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of(timeline).last
}

// recent returns a draft that was sent to the timeline, if there is one.
func (b *Board) recent(timeline string, random *rand.Rand) (client.Draft, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.of(timeline)
	if len(k.recent) == 0 {
		return client.Draft{}, false
	}
	return k.recent[random.IntN(len(k.recent))], true
}

// of returns what is known of a timeline. The caller holds mu.
func (b *Board) of(timeline string) *known {
	if b.known[timeline] == nil {
		b.known[timeline] = &known{}
	}
	return b.known[timeline]
}
