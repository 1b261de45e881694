//go:build linux

package disk

import (
	"context"
	"os"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// handle is an open file. Writers can read too, for the old contents.
type handle struct {
	file *os.File
	// sync says that each write is synced.
	sync bool
}

var (
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeAllocater = (*node)(nil)
	_ fs.NodeReleaser  = (*node)(nil)
	_ fs.NodeLseeker   = (*node)(nil)
)

// totals are the counts of a disk.
type totals struct {
	mu     sync.Mutex
	counts Counts
}

func (t *totals) add(c Counts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Reads += c.Reads
	t.counts.Writes += c.Writes
	t.counts.Syncs += c.Syncs
	t.counts.ReadBytes += c.ReadBytes
	t.counts.WroteBytes += c.WroteBytes
}

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.enter(ctx, OpOpen, ""); errno != 0 {
		return nil, 0, errno
	}
	defer n.leave()
	n.disk.names.Lock()
	defer n.disk.names.Unlock()
	h, errno := n.open(flags)
	return h, fuse.FOPEN_KEEP_CACHE, errno
}

// open opens the contents. names is held.
func (n *node) open(flags uint32) (fs.FileHandle, syscall.Errno) {
	mode := os.O_RDONLY
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		mode = os.O_RDWR
	}
	home := n.disk.home(n.ino)
	file, err := os.OpenFile(home, mode, 0)
	if err != nil {
		return nil, fs.ToErrno(err)
	}
	if flags&syscall.O_TRUNC != 0 {
		if errno := n.resize(home, 0); errno != 0 {
			file.Close()
			return nil, errno
		}
	}
	n.disk.claim(n.ino)
	// O_SYNC contains the bit of O_DSYNC.
	return &handle{file: file, sync: flags&syscall.O_DSYNC != 0}, 0
}

func (n *node) Release(_ context.Context, f fs.FileHandle) syscall.Errno {
	d := n.disk
	d.gate.RLock()
	defer d.gate.RUnlock()
	if n.current() {
		d.names.Lock()
		d.unclaim(n.ino)
		d.names.Unlock()
	}
	return fs.ToErrno(f.(*handle).file.Close())
}

func (n *node) Read(ctx context.Context, f fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if errno := n.enter(ctx, OpRead, ""); errno != 0 {
		return nil, errno
	}
	defer n.leave()
	got, err := syscall.Pread(int(f.(*handle).file.Fd()), dest, off)
	if err != nil {
		return nil, fs.ToErrno(err)
	}
	n.ino.mu.Lock()
	n.ino.counts.Reads++
	n.ino.counts.ReadBytes += int64(got)
	n.ino.mu.Unlock()
	n.disk.totals.add(Counts{Reads: 1, ReadBytes: int64(got)})
	return fuse.ReadResultData(dest[:got]), 0
}

func (n *node) Write(ctx context.Context, f fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	if errno := n.enter(ctx, OpWrite, ""); errno != 0 {
		return 0, errno
	}
	defer n.leave()
	h := f.(*handle)
	wrote, errno := n.write(h, data, off)
	if errno == 0 && h.sync {
		errno = n.sync(h)
	}
	return uint32(wrote), errno
}

func (n *node) write(h *handle, data []byte, off int64) (int, syscall.Errno) {
	ino, c := n.ino, &n.ino.contents
	ino.mu.Lock()
	defer ino.mu.Unlock()
	room := n.grow(off + int64(len(data)))
	if room <= off {
		return 0, syscall.ENOSPC
	}
	data = data[:min(int64(len(data)), room-off)]
	if err := c.preserve(h.file, off, off+int64(len(data)), n.disk.options.UnsyncedBytes); err != nil {
		return 0, fs.ToErrno(err)
	}
	wrote, err := h.file.WriteAt(data, off)
	c.size = max(c.size, off+int64(wrote))
	ino.counts.Writes++
	ino.counts.WroteBytes += int64(wrote)
	n.disk.totals.add(Counts{Writes: 1, WroteBytes: int64(wrote)})
	return wrote, fs.ToErrno(err)
}

// grow takes the space for a file that is to reach up to end, and returns up to where
// there is space. inode.mu is held.
func (n *node) grow(end int64) int64 {
	c := &n.ino.contents
	if end > c.allocated {
		c.allocated += n.disk.space.take(end - c.allocated)
	}
	return min(end, c.allocated)
}

// resize is truncate. names is held.
func (n *node) resize(home string, size int64) syscall.Errno {
	file, err := os.OpenFile(home, os.O_RDWR, 0)
	if err != nil {
		return fs.ToErrno(err)
	}
	defer file.Close()
	c := &n.ino.contents
	n.ino.mu.Lock()
	defer n.ino.mu.Unlock()
	if size == c.size {
		return 0
	}
	if err := c.preserve(file, size, c.size, n.disk.options.UnsyncedBytes); err != nil {
		return fs.ToErrno(err)
	}
	if err := file.Truncate(size); err != nil {
		return fs.ToErrno(err)
	}
	// A file may grow by a hole, which takes no space.
	if size < c.size {
		n.disk.space.take(size - c.allocated)
		c.allocated = size
	}
	c.size = size
	return 0
}

// Allocate reserves space, makes a file grow, or makes a hole.
func (n *node) Allocate(ctx context.Context, f fs.FileHandle, off, size uint64, mode uint32) syscall.Errno {
	if mode&^(unix.FALLOC_FL_KEEP_SIZE|unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_ZERO_RANGE) != 0 {
		return syscall.EOPNOTSUPP
	}
	if errno := n.enter(ctx, OpWrite, ""); errno != 0 {
		return errno
	}
	defer n.leave()
	file, c, end := f.(*handle).file, &n.ino.contents, int64(off+size)
	n.ino.mu.Lock()
	defer n.ino.mu.Unlock()
	if mode&unix.FALLOC_FL_PUNCH_HOLE == 0 && n.grow(end) < end {
		return syscall.ENOSPC
	}
	if mode&(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_ZERO_RANGE) != 0 {
		if err := c.preserve(file, int64(off), end, n.disk.options.UnsyncedBytes); err != nil {
			return fs.ToErrno(err)
		}
	}
	if err := unix.Fallocate(int(file.Fd()), mode, int64(off), int64(size)); err != nil {
		return fs.ToErrno(err)
	}
	if mode&unix.FALLOC_FL_KEEP_SIZE == 0 && end > c.size {
		c.size, c.changed = end, true
	}
	return 0
}

// Lseek finds data and holes.
func (n *node) Lseek(ctx context.Context, f fs.FileHandle, off uint64, whence uint32) (uint64, syscall.Errno) {
	if errno := n.enter(ctx, OpLookup, ""); errno != 0 {
		return 0, errno
	}
	defer n.leave()
	at, err := unix.Seek(int(f.(*handle).file.Fd()), int64(off), int(whence))
	return uint64(at), fs.ToErrno(err)
}
