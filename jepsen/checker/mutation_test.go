package checker

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"tidemark/jepsen/history"
)

// A right history is right, whatever the seed.
func TestRightHistoriesPass(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		v := Judge(generate(small(seed)), All())
		if !v.OK() {
			t.Fatalf("seed %d: %d anomalies, the first: %+v", seed, len(v.Anomalies), v.Anomalies[0])
		}
		if v.Counts.AcknowledgedAppends < 500 || v.Counts.Duplicates == 0 || v.Counts.UnknownAppends == 0 || v.Counts.FailedAppends == 0 ||
			v.Counts.LinearizableReads == 0 || v.Counts.SessionReads == 0 || v.Counts.LocalReads == 0 || v.Counts.Acks == 0 {
			t.Fatalf("seed %d: the history is too thin to judge by: %+v", seed, v.Counts)
		}
	}
}

// mutation breaks a right history in one way, which the named checker must find. It
// reports false if the history has no place for it.
type mutation struct {
	name    string
	checker string
	apply   func(*mutant) bool
}

// mutant is a history to be broken, with its index from before.
type mutant struct {
	h *history.History
	x *index
}

var mutations = []mutation{
	{"lose the last acknowledged message on every node", "lost-append", func(m *mutant) bool { return m.cutTail("") }},
	{"lose the last acknowledged message on one node", "lost-append", func(m *mutant) bool { return m.cutTail("n2") }},
	{"never read a timeline back from one node", "lost-append", func(m *mutant) bool {
		m.h.Operations = slices.DeleteFunc(m.h.Operations, func(op history.Operation) bool {
			return op.Kind == history.KindFinalRead && op.Node == "n3" && op.Timeline == "conv/0"
		})
		return true
	}},
	{"lose what was only read", "vanished-message", (*mutant).loseRead},
	{"swap two SeqIds in the answers", "seq-mismatch", (*mutant).swapAnswers},
	{"answer a retry with another SeqId", "seq-mismatch", func(m *mutant) bool {
		return m.item(func(op *history.Operation, item *history.Item) bool {
			return op.Outcome == history.OK && item.Duplicate
		}, func(item *history.Item) { item.SeqID++ })
	}},
	{"answer with another digest", "seq-mismatch", func(m *mutant) bool {
		return m.item(acknowledgedItem, func(item *history.Item) { item.Digest = "feed" })
	}},
	{"show a message that nobody sent", "unexpected-message", func(m *mutant) bool {
		return m.shown(func(s *history.Seen) { s.MessageID = "from-nowhere" })
	}},
	{"show other content than was sent", "unexpected-message", func(m *mutant) bool {
		return m.shown(func(s *history.Seen) { s.Content++ })
	}},
	{"show a message before it was sent", "unexpected-message", (*mutant).readEarly},
	{"fail an append that is there", "failed-append-visible", (*mutant).failVisible},
	{"fail the first append of what was sent twice", "failed-append-visible", (*mutant).failFirst},
	{"double one message", "duplicate-message", (*mutant).double},
	{"acknowledge a retry as the first", "duplicate-message", (*mutant).twoFirsts},
	{"skip a message in the final read of one node", "gap", func(m *mutant) bool {
		return m.finalPage("n1", func(op *history.Operation) { op.Messages = slices.Delete(op.Messages, 3, 4) })
	}},
	{"skip a message in a page", "page-contiguity", func(m *mutant) bool {
		return m.page(func(op *history.Operation) { op.Messages = slices.Delete(op.Messages, 1, 2) })
	}},
	{"say wrongly that there is more", "page-contiguity", func(m *mutant) bool {
		return m.page(func(op *history.Operation) { op.More = !op.More })
	}},
	{"start a page elsewhere", "page-contiguity", func(m *mutant) bool {
		return m.page(func(op *history.Operation) {
			op.Messages = op.Messages[1 : len(op.Messages)-1]
			op.More = true
		})
	}},
	{"swap two messages everywhere", "real-time-order", (*mutant).swapPlaces},
	{"serve one stale linearizable head", "stale-read", func(m *mutant) bool { return m.stale(history.Linearizable, nil) }},
	{"serve one stale linearizable page", "stale-read", (*mutant).stalePage},
	{"do not find what is there", "stale-read", (*mutant).notFound},
	{"go back within a session at a position", "session-violation", func(m *mutant) bool {
		return m.stale(history.Session, func(op *history.Operation) bool { return op.SessionAt > 0 })
	}},
	{"go back within a client's session", "session-violation", func(m *mutant) bool {
		return m.stale(history.Session, func(op *history.Operation) bool { return op.SessionAt == 0 })
	}},
	{"name an older index than what is shown", "session-violation", (*mutant).oldIndex},
	{"exceed the bound of a local read", "staleness-bound", func(m *mutant) bool {
		return m.operation(func(op *history.Operation) bool {
			return op.Outcome == history.OK && op.Level == history.Local && op.MaxStaleness > 0
		}, func(op *history.Operation) { op.Staleness = op.MaxStaleness + time.Millisecond })
	}},
	{"be older than said", "staleness-bound", func(m *mutant) bool { return m.stale(history.Local, nil) }},
	{"move one cursor back", "cursor-regress", (*mutant).cursorBack},
	{"leave an acknowledgement out of its own answer", "cursor-regress", func(m *mutant) bool {
		return m.operation(func(op *history.Operation) bool {
			return op.Kind == history.KindAck && op.Outcome == history.OK && op.Acks[0].Delivered > 1
		}, func(op *history.Operation) {
			op.Cursors[0] = history.CursorSeen{Timeline: op.Timeline, Reader: op.Reader}
		})
	}},
	{"move one cursor beyond what was asked", "cursor-regress", func(m *mutant) bool {
		return m.operation(func(op *history.Operation) bool { return len(op.Cursors) > 0 && op.Kind == history.KindCursors },
			func(op *history.Operation) { op.Cursors[0].Delivered += 1_000_000 })
	}},
	{"lose a cursor at the end", "cursor-regress", func(m *mutant) bool {
		return m.operation(func(op *history.Operation) bool { return len(op.Cursors) > 0 && op.Kind == history.KindFinalCursors },
			func(op *history.Operation) { op.Cursors = op.Cursors[1:] })
	}},
	{"count a message that was read as unread", "unread-count", func(m *mutant) bool {
		return m.operation(func(op *history.Operation) bool { return op.Kind == history.KindCursors && len(op.Cursors) > 0 },
			func(op *history.Operation) { *op.Cursors[0].Unread++ })
	}},
	{"count a reader's own message as unread", "unread-count", (*mutant).countOwn},
	{"drop half of an atomic batch", "atomic-batch", func(m *mutant) bool { return m.halfBatch(true) }},
	{"put another message into an atomic batch", "atomic-batch", (*mutant).splitBatch},
	{"show half of an atomic batch", "atomic-batch", func(m *mutant) bool { return m.halfBatch(false) }},
	{"append after another SeqId than expected", "expected-seq", func(m *mutant) bool {
		return m.item(func(op *history.Operation, item *history.Item) bool {
			return op.Outcome == history.OK && item.Expected != nil && !item.Duplicate
		}, func(item *history.Item) { *item.Expected += 2 })
	}},
	{"break a digest on one node", "replica-divergence", func(m *mutant) bool {
		return m.finalPage("n2", func(op *history.Operation) { op.Messages[2].Digest = "feed" })
	}},
	{"show another message on one node", "replica-divergence", func(m *mutant) bool {
		return m.finalPage("n3", func(op *history.Operation) { op.Messages[1].MessageID = op.Messages[0].MessageID })
	}},
	{"end with another head on one node", "replica-divergence", func(m *mutant) bool {
		return m.finalPage("n3", func(op *history.Operation) { op.HeadDigest = "feed" })
	}},
	{"end with another cursor on one node", "replica-divergence", func(m *mutant) bool {
		return m.operation(func(op *history.Operation) bool {
			return op.Kind == history.KindFinalCursors && op.Node == "n2" && len(op.Cursors) > 0
		}, func(op *history.Operation) { op.Cursors[0].Delivered++ })
	}},
	{"let server time run backwards", "digest-chain", func(m *mutant) bool {
		return m.page(func(op *history.Operation) { op.Messages[1].ServerTime -= int64(time.Hour) })
	}},
	{"break the chain of a page", "digest-chain", func(m *mutant) bool {
		return m.page(func(op *history.Operation) { op.BadDigest = op.Messages[0].SeqID })
	}},
	{"start the chain of a page elsewhere", "digest-chain", func(m *mutant) bool {
		return m.page(func(op *history.Operation) { op.PreviousDigest = "feed" })
	}},
	{"change the bytes of a log entry", "log-mismatch", func(m *mutant) bool { m.h.Logs[10].Hash = "feed"; return true }},
	{"change the term of a log entry", "log-mismatch", func(m *mutant) bool { m.h.Logs[10].Term++; return true }},
	{"hold another entry before one that all have", "log-mismatch", func(m *mutant) bool {
		m.h.Logs[7].Term, m.h.Logs[8].PreviousTerm = 1, 1
		return true
	}},
	{"let the terms of a log fall", "log-mismatch", func(m *mutant) bool {
		m.h.Logs = []history.LogEntry{{Node: "n1", Index: 1, Term: 3, Hash: "a"}, {Node: "n1", Index: 2, Term: 2, PreviousTerm: 3, Hash: "b"}}
		return true
	}},
	{"hold other bytes for a while", "log-mismatch", func(m *mutant) bool {
		changed := m.h.Logs[10]
		changed.Hash = "feed"
		m.h.Logs = append(m.h.Logs, changed)
		return true
	}},
	{"recover too late", "recovery-time", func(m *mutant) bool { return m.afterHealing(func(op *history.Operation) { op.Completed += time.Hour }) }},
	{"never recover", "recovery-time", func(m *mutant) bool { return m.afterHealing(fail) }},
	{"never heal", "recovery-time", func(m *mutant) bool { m.h.Faults[0].To = history.NeverHealed; return true }},
	{"leak goroutines", "resources", func(m *mutant) bool { return m.samples(func(s *history.Sample) { s.Goroutines += 5000 }) }},
	{"leak memory", "resources", func(m *mutant) bool { return m.samples(func(s *history.Sample) { s.MemoryBytes += 1 << 30 }) }},
	{"leak file descriptors", "resources", func(m *mutant) bool { return m.samples(func(s *history.Sample) { s.FileDescriptors += 5000 }) }},
	{"do two things at once", "malformed-history", func(m *mutant) bool {
		return m.operation(func(op *history.Operation) bool { return op.Outcome == history.OK }, func(op *history.Operation) { op.Completed += time.Hour })
	}},
}

// Each way of breaking a history is found by the checker whose name says so.
func TestMutationsAreFound(t *testing.T) {
	const seeds = 3
	for _, mutation := range slices.Concat(mutations, tailMutations, changeMutations, fanOutMutations, retentionMutations, revisionMutations) {
		t.Run(mutation.checker+"/"+mutation.name, func(t *testing.T) {
			t.Parallel()
			applied := 0
			for seed := range uint64(seeds) {
				h := generate(small(1000 + seed))
				if !mutation.apply(&mutant{h, newIndex(h)}) {
					continue
				}
				applied++
				v := Judge(h, All())
				found := make(map[string]bool)
				for _, a := range v.Anomalies {
					found[a.Checker] = true
				}
				t.Logf("seed %d: found by %v", seed, slices.Sorted(maps.Keys(found)))
				if !found[mutation.checker] {
					t.Errorf("seed %d: not found by %s, but by %v", seed, mutation.checker, slices.Sorted(maps.Keys(found)))
				}
			}
			if applied == 0 {
				t.Error("no history had a place for it")
			}
		})
	}
}

// Every checker has a mutation that it must find.
func TestEveryCheckerHasAMutation(t *testing.T) {
	for _, c := range All() {
		if !slices.ContainsFunc(slices.Concat(mutations, tailMutations, changeMutations, fanOutMutations, retentionMutations, revisionMutations), func(m mutation) bool { return m.checker == c.Name() }) {
			t.Errorf("nothing shows that %s finds anything", c.Name())
		}
	}
}

// Anomalies beyond the limit are counted, not listed.
func TestAnomaliesAreBounded(t *testing.T) {
	h := generate(small(1))
	for i := range h.Operations {
		h.Operations[i].BadDigest = 1
	}
	found := direct{"digest-chain", digestChain}.Check(h)
	if len(found) != maxAnomalies+1 {
		t.Fatalf("%d anomalies; want %d and a count", len(found), maxAnomalies)
	}
	var more int
	if _, err := fmt.Sscanf(found[maxAnomalies].Summary, "and %d more", &more); err != nil || more == 0 {
		t.Errorf("the last summary is %q", found[maxAnomalies].Summary)
	}
}

type broken struct{}

func (broken) Name() string                     { return "broken" }
func (broken) Check(*history.History) []Anomaly { panic("on purpose") }

// A checker that fails does not pass.
func TestPanicIsAnAnomaly(t *testing.T) {
	v := Judge(&history.History{}, []Checker{broken{}})
	if v.OK() || v.Anomalies[0].Checker != "broken" {
		t.Errorf("verdict %+v", v)
	}
}
