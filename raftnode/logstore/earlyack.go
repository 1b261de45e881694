package logstore

import "time"

// An early acknowledgement is a planted bug: a WAL whose fsyncs do nothing until syncLate, so
// that entries are acknowledged before they are durable. For that nothing else may claim that
// they are: neither the trailers of later entries nor the mark, with which a node would notice
// what it lost, and refuse to start.

// lateSyncInterval is how much later what was acknowledged is made durable.
const lateSyncInterval = 250 * time.Millisecond

// syncLate makes durable what was acknowledged, and then says so in the mark.
func (g *log) syncLate() error {
	g.prune.Lock()
	defer g.prune.Unlock()
	g.write.Lock()
	defer g.write.Unlock()
	if w, ok := g.inner.(*walBackend); ok {
		if err := w.files.flush(); err != nil {
			return err
		}
	}
	g.mu.RLock()
	first, last, sum := g.first, g.last, g.sum
	g.mu.RUnlock()
	return g.raise(first, last, sum)
}
