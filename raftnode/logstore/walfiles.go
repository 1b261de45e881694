package logstore

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"
)

// walFiles is the file system of a WAL. While late is set, its fsyncs are noted, and done by
// flush.
type walFiles struct {
	*fs.FS
	late atomic.Bool

	mu       sync.Mutex
	unsynced map[*walFile]bool
}

func newWALFiles() *walFiles { return &walFiles{FS: fs.New(), unsynced: map[*walFile]bool{}} }

func (l *walFiles) Create(dir, name string, size uint64) (types.WritableFile, error) {
	return l.wrap(l.FS.Create(dir, name, size))
}

func (l *walFiles) OpenWriter(dir, name string) (types.WritableFile, error) {
	return l.wrap(l.FS.OpenWriter(dir, name))
}

func (l *walFiles) wrap(f types.WritableFile, err error) (types.WritableFile, error) {
	if err != nil {
		return nil, err
	}
	return &walFile{WritableFile: f, files: l}, nil
}

// flush does the fsyncs that were noted.
func (l *walFiles) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for f := range l.unsynced {
		if err := f.sync(); err != nil {
			return err
		}
		delete(l.unsynced, f)
	}
	return nil
}

type walFile struct {
	types.WritableFile
	files *walFiles
	// synced says that file and name were synced once. mu of files guards it.
	synced bool
}

func (f *walFile) Sync() error {
	f.files.mu.Lock()
	defer f.files.mu.Unlock()
	if f.files.late.Load() {
		f.files.unsynced[f] = true
		return nil
	}
	return f.sync()
}

// sync makes the file durable. The library gives files their size when it makes them, so
// that after the first time only their bytes change.
func (f *walFile) sync() error {
	if file, ok := f.WritableFile.(*fs.File); ok && f.synced {
		return datasync(&file.File)
	}
	err := f.WritableFile.Sync()
	f.synced = f.synced || err == nil
	return err
}

func (f *walFile) Close() error {
	return errors.Join(f.files.flush(), f.WritableFile.Close())
}
