package logstore

import (
	"math/rand/v2"
	"testing"

	"github.com/hashicorp/raft"
)

// The cache is compared with a map that never forgets: it may hold less, but
// never anything else, and never more than its bounds.
func TestCacheAgainstAModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	c := newCache(16, 500)
	model := map[uint64]*raft.Log{}
	next := uint64(1)
	for range 20000 {
		switch r.IntN(10) {
		case 0:
			from := next - min(next-1, uint64(r.IntN(20)))
			c.forgetFrom(from)
			for i := range model {
				if i >= from {
					delete(model, i)
				}
			}
			next = max(from, 1)
		case 1:
			to := next - min(next, uint64(r.IntN(30)))
			c.forgetTo(to)
			for i := range model {
				if i <= to {
					delete(model, i)
				}
			}
		case 2: // a snapshot was installed
			c.forgetFrom(0)
			clear(model)
			next += uint64(r.IntN(100))
		default:
			var logs []*raft.Log
			for range r.IntN(6) {
				l := &raft.Log{Index: next, Term: r.Uint64(), Data: make([]byte, r.IntN(100)*r.IntN(8))}
				model[next] = l
				logs = append(logs, l)
				next++
			}
			c.add(logs)
		}
		held, bytes := 0, 0
		for i := next - min(next, 40); i < next+3; i++ {
			var l raft.Log
			if !c.get(i, &l) {
				continue
			}
			held++
			bytes += len(l.Data)
			if m := model[i]; m == nil || m.Term != l.Term || m.Index != i {
				t.Fatalf("cache holds %d of term %d, model %v", i, l.Term, m)
			}
		}
		if bytes != c.bytes || bytes > 700 || bytes > 500 && held > 1 || held > 16 {
			t.Fatalf("cache holds %d entries of %d bytes and counts %d", held, bytes, c.bytes)
		}
	}
	c.add([]*raft.Log{{Index: 9999, Data: make([]byte, 10)}})
	if !c.get(9999, new(raft.Log)) {
		t.Error("the newest entry is not held")
	}
}
