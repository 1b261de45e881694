package logstore

import (
	"fmt"

	"github.com/hashicorp/raft"
)

// DeleteRange deletes a prefix or a suffix of the log. A prefix ends at the
// latest where the state machine is durable; what is beyond stays. A suffix is
// deleted because it conflicts with what the cluster has, so it must begin after
// what the state machine has.
func (g *log) DeleteRange(from, to uint64) error {
	g.prune.Lock()
	defer g.prune.Unlock()
	first, last := g.bounds()
	durable := g.o.Durable()
	switch {
	case first == 0 || from > to || to < first || from > last:
		return g.stop.failed()
	case from <= first && to >= last && (first > durable || last <= durable):
		g.write.Lock()
		defer g.write.Unlock()
		return g.drop("delete all entries")
	case from <= first:
		return g.deletePrefix(min(to, durable))
	case to < last:
		return g.stop.fail(fmt.Errorf("raft log: delete entries %d to %d: not a prefix or suffix of %d to %d", from, to, first, last))
	case from <= durable:
		return g.stop.fail(fmt.Errorf("raft log: delete conflicting entries %d to %d:"+
			" the state machine has applied entries up to %d, which cannot conflict", from, last, durable))
	}
	return g.deleteSuffix(from)
}

// deletePrefix deletes entries up to an index before the last one, some at a
// time, because appends wait meanwhile.
func (g *log) deletePrefix(to uint64) error {
	for {
		first, _ := g.bounds()
		if first > to {
			return g.stop.failed()
		}
		end := to
		if step := g.inner.deleteStep(); to-first >= step {
			end = first + step - 1
		}
		what := fmt.Sprintf("delete entries %d to %d", first, end)
		err := g.stop.run(what, g.o.logPath(), func() error {
			if err := g.mark.set(func(b *bounds) { b.first = end + 1 }); err != nil {
				return err
			}
			g.mu.Lock()
			g.first = end + 1
			g.mu.Unlock()
			g.cache.forgetTo(end)
			return g.inner.DeleteRange(first, end)
		})
		if err != nil {
			return err
		}
	}
}

func (g *log) deleteSuffix(from uint64) error {
	g.write.Lock()
	defer g.write.Unlock()
	_, last := g.bounds()
	what := fmt.Sprintf("delete conflicting entries %d to %d", from, last)
	return g.stop.run(what, g.o.logPath(), func() error {
		var before raft.Log
		t, err := g.read(from-1, &before)
		if err != nil {
			return err
		}
		if err := g.mark.set(func(b *bounds) { b.last, b.sum = from-1, t.sum }); err != nil {
			return err
		}
		g.mu.Lock()
		g.last, g.sum = from-1, t.sum
		g.mu.Unlock()
		g.cache.forgetFrom(from)
		return g.inner.DeleteRange(from, last)
	})
}

// drop empties the log, all or nothing. The caller holds prune and write.
func (g *log) drop(what string) error {
	first, last := g.bounds()
	if first == 0 {
		return g.stop.failed()
	}
	return g.stop.run(what, g.o.logPath(), func() error {
		if err := g.mark.set(func(b *bounds) { b.first, b.last, b.sum = 0, 0, 0 }); err != nil {
			return err
		}
		g.mu.Lock()
		g.first, g.last, g.sum = 0, 0, 0
		g.mu.Unlock()
		g.cache.forgetFrom(0)
		return g.inner.DeleteRange(first, last)
	})
}
