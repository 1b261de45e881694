package logstore

import (
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"
)

// lateSyncInterval is how much later what was acknowledged is made durable.
const lateSyncInterval = 250 * time.Millisecond

// lateSync is a planted bug: the file system of a WAL whose fsyncs do nothing until
// syncLate, so that entries are acknowledged before they are durable. For that nothing
// else may claim that they are: neither the trailers of later entries nor the mark,
// with which a node would notice what it lost, and refuse to start.
type lateSync struct {
	*fs.FS

	mu    sync.Mutex
	files map[*lateFile]bool // with writes that were not synced
}

func newLateSync() *lateSync { return &lateSync{FS: fs.New(), files: map[*lateFile]bool{}} }

func (l *lateSync) Create(dir, name string, size uint64) (types.WritableFile, error) {
	return l.wrap(l.FS.Create(dir, name, size))
}

func (l *lateSync) OpenWriter(dir, name string) (types.WritableFile, error) {
	return l.wrap(l.FS.OpenWriter(dir, name))
}

func (l *lateSync) wrap(f types.WritableFile, err error) (types.WritableFile, error) {
	if err != nil {
		return nil, err
	}
	return &lateFile{f, l}, nil
}

// flush does the fsyncs that were asked for.
func (l *lateSync) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for f := range l.files {
		errs = append(errs, f.WritableFile.Sync())
	}
	clear(l.files)
	return errors.Join(errs...)
}

type lateFile struct {
	types.WritableFile
	late *lateSync
}

func (f *lateFile) Sync() error {
	f.late.mu.Lock()
	defer f.late.mu.Unlock()
	f.late.files[f] = true
	return nil
}

func (f *lateFile) Close() error {
	return errors.Join(f.late.flush(), f.WritableFile.Close())
}

// syncLate makes durable what was acknowledged, and then says so in the mark.
func (g *log) syncLate() error {
	g.prune.Lock()
	defer g.prune.Unlock()
	g.write.Lock()
	defer g.write.Unlock()
	if w, ok := g.inner.(*walBackend); ok {
		if err := w.late.flush(); err != nil {
			return err
		}
	}
	g.mu.RLock()
	first, last, sum := g.first, g.last, g.sum
	g.mu.RUnlock()
	return g.raise(first, last, sum)
}
