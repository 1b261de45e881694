package logstore

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"
)

// A segment is filled with zeros so far ahead of an append: little at first, for a log that stays
// short, and twice as much each time, up to some 25 appends of a busy node, one of which then waits
// for them all to be written.
const minFillBytes, maxFillBytes = 64 << 10, 1 << 20

// walFiles is the file system of a WAL, on which an append is made durable more cheaply
// than by the library's own. It has a segment's blocks allocated, but an allocated block
// becomes a written one only by a change of the file system's metadata, and with its fsync
// every append also waits for the time of the change: twice for the journal. Here a block
// that is appended to was written before, with zeros, and fdatasync leaves the times out.
//
// While late is set, syncs are noted only, and done by flush.
type walFiles struct {
	*fs.FS
	// datasync is that of this package, but for tests.
	datasync func(*os.File) error
	late     atomic.Bool

	// flushing is held by flush, so that one waits for another. failed is the first error of one: whoever
	// comes later must not take what it could not sync for synced.
	flushing sync.Mutex
	failed   error
	mu       sync.Mutex
	unsynced map[*walFile]bool
}

func newWALFiles() *walFiles {
	return &walFiles{FS: fs.New(), datasync: datasync, unsynced: map[*walFile]bool{}}
}

func (w *walFiles) Create(dir, name string, size uint64) (types.WritableFile, error) {
	created, err := w.FS.Create(dir, name, size)
	if err != nil {
		return nil, err
	}
	return &walFile{WritableFile: created, files: w, file: &created.(*fs.File).File, size: int64(size), created: true}, nil
}

func (w *walFiles) OpenWriter(dir, name string) (types.WritableFile, error) {
	opened, err := w.FS.OpenWriter(dir, name)
	if err != nil {
		return nil, err
	}
	file := opened.(*os.File)
	stat, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &walFile{WritableFile: opened, files: w, file: file, size: stat.Size()}, nil
}

// flush does the syncs that were noted.
func (w *walFiles) flush() error {
	w.flushing.Lock()
	defer w.flushing.Unlock()
	if w.failed != nil {
		return w.failed
	}
	w.mu.Lock()
	files := w.unsynced
	w.unsynced = map[*walFile]bool{}
	w.mu.Unlock()
	var errs []error
	for f := range files {
		errs = append(errs, f.sync())
	}
	w.failed = errors.Join(errs...)
	return w.failed
}

// walFile is a segment that is appended to.
type walFile struct {
	types.WritableFile
	files *walFiles
	file  *os.File
	size  int64
	// filled is up to where the file was written; it is not known of one that was opened.
	filled int64
	// ahead is how far the next fill goes.
	ahead int64

	// syncing is held by syncs.
	syncing sync.Mutex
	// created says that the file was never synced, and its name may not be durable either.
	created bool
}

// WriteAt appends b, and fills what comes behind it if need be. Nothing but zeros is there:
// the library only appends, and what a crash left behind the end was cleared.
func (f *walFile) WriteAt(b []byte, at int64) (int, error) {
	n, err := f.WritableFile.WriteAt(b, at)
	end := at + int64(len(b))
	if err != nil || end <= f.filled {
		return n, err
	}
	f.ahead = min(max(2*f.ahead, minFillBytes), maxFillBytes)
	f.filled = max(end, min((end+f.ahead)&^(f.ahead-1), f.size))
	for ; end < f.filled && err == nil; end += int64(len(zeros)) {
		_, err = f.WritableFile.WriteAt(zeros[:min(int64(len(zeros)), f.filled-end)], end)
	}
	return n, err
}

// zeros is only read. It is no larger because Linux keeps what is written at once in one large page,
// and counts all of that as written again for each append to a part of it.
var zeros [32 << 10]byte

// Sync makes what was written durable, and the first time the file's name.
func (f *walFile) Sync() error {
	if f.files.late.Load() {
		f.files.mu.Lock()
		defer f.files.mu.Unlock()
		f.files.unsynced[f] = true
		return nil
	}
	return f.sync()
}

func (f *walFile) sync() error {
	f.syncing.Lock()
	defer f.syncing.Unlock()
	if !f.created {
		return f.files.datasync(f.file)
	}
	if err := f.WritableFile.Sync(); err != nil {
		return err
	}
	f.created = false
	return nil
}

func (f *walFile) Close() error {
	return errors.Join(f.files.flush(), f.WritableFile.Close())
}
