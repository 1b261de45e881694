//go:build linux

package disk

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is what the kernel knows an inode by.
type node struct {
	fs.Inode
	disk  *Disk
	ino   *inode
	epoch uint64
}

var (
	_ fs.NodeLookuper   = (*node)(nil)
	_ fs.NodeReaddirer  = (*node)(nil)
	_ fs.NodeGetattrer  = (*node)(nil)
	_ fs.NodeSetattrer  = (*node)(nil)
	_ fs.NodeStatfser   = (*node)(nil)
	_ fs.NodeReadlinker = (*node)(nil)
	_ fs.NodeFsyncer    = (*node)(nil)
)

// enter begins an operation: rules first, then the gate, which leave opens again
// unless enter fails. With a name, the operation is on that name in the directory.
func (n *node) enter(ctx context.Context, op Ops, name string) syscall.Errno {
	return n.enterTwo(ctx, op, name, nil, "")
}

// enterTwo is enter for an operation on two paths; other may be nil.
func (n *node) enterTwo(ctx context.Context, op Ops, name string, other *node, otherName string) syscall.Errno {
	d := n.disk
	if d.rules.active.Load() > 0 {
		d.names.RLock()
		paths := []string{filepath.Join(d.path(n.ino), name)}
		if other != nil {
			paths = append(paths, filepath.Join(d.path(other.ino), otherName))
		}
		d.names.RUnlock()
		if errno := d.rules.apply(ctx, op, paths); errno != 0 {
			return errno
		}
	}
	d.gate.RLock()
	stale := d.closed || !n.current() || other != nil && !other.current()
	if stale {
		d.gate.RUnlock()
		return syscall.EIO
	}
	return 0
}

func (n *node) leave() { n.disk.gate.RUnlock() }

// current reports that no power failure came since the kernel learned of the inode.
// The root is the same in all epochs.
func (n *node) current() bool { return n.epoch == n.disk.epoch || n.ino == n.disk.root }

// child makes the kernel's view of an inode.
func (n *node) child(ctx context.Context, ino *inode) *fs.Inode {
	return n.NewInode(ctx, &node{disk: n.disk, ino: ino, epoch: n.disk.epoch},
		fs.StableAttr{Mode: ino.mode, Ino: ino.id})
}

// attributes fills in what stat shows. names is held.
func (d *Disk) attributes(ino *inode, out *fuse.Attr) syscall.Errno {
	var st syscall.Stat_t
	if err := syscall.Lstat(d.home(ino), &st); err != nil {
		return fs.ToErrno(err)
	}
	out.FromStat(&st)
	out.Ino = ino.id
	if !ino.isDir() {
		out.Nlink = uint32(len(ino.links))
	}
	return 0
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.enter(ctx, OpLookup, name); errno != 0 {
		return nil, errno
	}
	defer n.leave()
	n.disk.names.RLock()
	defer n.disk.names.RUnlock()
	child := n.ino.live[name]
	if child == nil {
		return nil, syscall.ENOENT
	}
	if errno := n.disk.attributes(child, &out.Attr); errno != 0 {
		return nil, errno
	}
	return n.child(ctx, child), 0
}

func (n *node) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	if errno := n.enter(ctx, OpReaddir, ""); errno != 0 {
		return nil, errno
	}
	defer n.leave()
	n.disk.names.RLock()
	defer n.disk.names.RUnlock()
	list := make([]fuse.DirEntry, 0, len(n.ino.live))
	for _, name := range sortedKeys(n.ino.live) {
		child := n.ino.live[name]
		list = append(list, fuse.DirEntry{Name: name, Mode: child.mode, Ino: child.id})
	}
	return fs.NewListDirStream(list), 0
}

func (n *node) Getattr(ctx context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if errno := n.enter(ctx, OpLookup, ""); errno != 0 {
		return errno
	}
	defer n.leave()
	n.disk.names.RLock()
	defer n.disk.names.RUnlock()
	return n.disk.attributes(n.ino, &out.Attr)
}

// Setattr changes the size, which a power failure may undo, and modes, owners and
// times, which are durable at once.
func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	size, resize := in.GetSize()
	op := OpLookup
	if resize {
		op = OpTruncate
	}
	if errno := n.enter(ctx, op, ""); errno != 0 {
		return errno
	}
	defer n.leave()
	d := n.disk
	d.names.RLock()
	defer d.names.RUnlock()
	home := d.home(n.ino)
	if resize {
		if errno := n.resize(home, int64(size)); errno != 0 {
			return errno
		}
	}
	if mode, ok := in.GetMode(); ok {
		if err := syscall.Chmod(home, mode); err != nil {
			return fs.ToErrno(err)
		}
	}
	uid, setUID := in.GetUID()
	gid, setGID := in.GetGID()
	if setUID || setGID {
		owner, group := -1, -1
		if setUID {
			owner = int(uid)
		}
		if setGID {
			group = int(gid)
		}
		if err := os.Lchown(home, owner, group); err != nil {
			return fs.ToErrno(err)
		}
	}
	accessed, setAccessed := in.GetATime()
	modified, setModified := in.GetMTime()
	if setAccessed || setModified {
		// The zero time leaves a time as it is.
		if !setAccessed {
			accessed = time.Time{}
		}
		if !setModified {
			modified = time.Time{}
		}
		if err := os.Chtimes(home, accessed, modified); err != nil {
			return fs.ToErrno(err)
		}
	}
	return d.attributes(n.ino, &out.Attr)
}

// Statfs answers for the backing file system, with the free space that Fill left.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	var st syscall.Statfs_t
	if err := syscall.Statfs(n.disk.backing, &st); err != nil {
		return fs.ToErrno(err)
	}
	out.FromStatfsT(&st)
	free := uint64(n.disk.space.left()) / uint64(st.Bsize)
	out.Bfree, out.Bavail = min(out.Bfree, free), min(out.Bavail, free)
	return 0
}

func (n *node) Readlink(ctx context.Context) ([]byte, syscall.Errno) {
	if errno := n.enter(ctx, OpLookup, ""); errno != 0 {
		return nil, errno
	}
	defer n.leave()
	n.disk.names.RLock()
	defer n.disk.names.RUnlock()
	target, err := os.Readlink(n.disk.home(n.ino))
	return []byte(target), fs.ToErrno(err)
}

// Fsync makes the contents of a file, or the names of a directory, durable. There is
// no difference between fsync and fdatasync: both keep the size.
func (n *node) Fsync(ctx context.Context, f fs.FileHandle, _ uint32) syscall.Errno {
	op := OpSync
	if n.ino.isDir() {
		op = OpSyncDir
	}
	switch errno := n.enter(ctx, op, ""); errno {
	case 0:
	case lie:
		return 0
	default:
		n.failSync()
		return errno
	}
	defer n.leave()
	return n.sync(f)
}

func (n *node) failSync() {
	n.disk.gate.RLock()
	defer n.disk.gate.RUnlock()
	if n.ino.isFile() && n.current() {
		n.ino.mu.Lock()
		defer n.ino.mu.Unlock()
		n.ino.contents.failSync()
	}
}

func (n *node) sync(f fs.FileHandle) syscall.Errno {
	d := n.disk
	if h, ok := f.(*handle); ok && d.options.SyncBacking {
		if err := h.file.Sync(); err != nil {
			return fs.ToErrno(err)
		}
	}
	n.ino.mu.Lock()
	n.ino.counts.Syncs++
	n.ino.contents.sync()
	n.ino.mu.Unlock()
	d.totals.add(Counts{Syncs: 1})

	d.names.Lock()
	defer d.names.Unlock()
	if d.options.OneJournal {
		d.syncNames(d.root)
	} else if n.ino.isDir() {
		d.syncNames(n.ino)
	}
	return 0
}
