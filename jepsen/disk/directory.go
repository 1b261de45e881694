//go:build linux

package disk

import (
	"context"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

var (
	_ fs.NodeCreater   = (*node)(nil)
	_ fs.NodeMkdirer   = (*node)(nil)
	_ fs.NodeSymlinker = (*node)(nil)
	_ fs.NodeLinker    = (*node)(nil)
	_ fs.NodeUnlinker  = (*node)(nil)
	_ fs.NodeRmdirer   = (*node)(nil)
	_ fs.NodeRenamer   = (*node)(nil)
)

// at is where the backing directory keeps the name.
func (n *node) at(name string) string { return filepath.Join(n.disk.home(n.ino), name) }

// missing returns why the name cannot be created here. names is held.
func (n *node) missing(name string) syscall.Errno {
	switch {
	case n.ino != n.disk.root && len(n.ino.links) == 0:
		return syscall.ENOENT
	case n.ino.live[name] != nil, n.ino == n.disk.root && name == graveyard:
		return syscall.EEXIST
	}
	return 0
}

// put gives the inode a name in the directory, now.
func (d *Disk) put(dir *inode, name string, ino *inode) {
	dir.live[name] = ino
	ino.links[link{dir, name}] = struct{}{}
}

// take takes a name away, now, and keeps the contents if it was the last.
func (d *Disk) take(dir *inode, name string) error {
	ino := dir.live[name]
	home := filepath.Join(d.home(dir), name)
	var err error
	switch {
	case ino.isDir():
		err = syscall.Rmdir(home)
	case len(ino.links) > 1:
		err = syscall.Unlink(home)
	default:
		ino.buried = true
		if err = os.Rename(home, d.home(ino)); err != nil {
			ino.buried = false
		} else {
			ino.mu.Lock()
			d.space.take(-ino.contents.allocated)
			ino.mu.Unlock()
		}
	}
	if err != nil {
		return err
	}
	delete(dir.live, name)
	delete(ino.links, link{dir, name})
	return nil
}

// add makes the inode that the caller has created under a new name.
func (n *node) add(ctx context.Context, name string, ino *inode, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	d := n.disk
	d.put(n.ino, name, ino)
	d.record([]*inode{n.ino}, change{n.ino, name, nil, ino})
	if errno := d.attributes(ino, &out.Attr); errno != 0 {
		return nil, errno
	}
	return n.child(ctx, ino), 0
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.enter(ctx, OpCreate, name); errno != 0 {
		return nil, nil, 0, errno
	}
	defer n.leave()
	d := n.disk
	d.names.Lock()
	defer d.names.Unlock()
	errno := n.missing(name)
	if existing := n.ino.live[name]; existing != nil && flags&syscall.O_EXCL == 0 {
		// Somebody else created it after the kernel had asked.
		if errno := d.attributes(existing, &out.Attr); errno != 0 {
			return nil, nil, 0, errno
		}
		child := &node{disk: d, ino: existing, epoch: d.epoch}
		h, errno := child.open(flags)
		return n.child(ctx, existing), h, fuse.FOPEN_KEEP_CACHE, errno
	}
	if errno != 0 {
		return nil, nil, 0, errno
	}
	file, err := os.OpenFile(n.at(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, nil, 0, fs.ToErrno(err)
	}
	if err := file.Chmod(os.FileMode(mode & 0o777)); err != nil {
		file.Close()
		return nil, nil, 0, fs.ToErrno(err)
	}
	ino := newInode(d.nextID(), syscall.S_IFREG)
	child, errno := n.add(ctx, name, ino, out)
	if errno != 0 {
		file.Close()
		return nil, nil, 0, errno
	}
	d.claim(ino)
	return child, &handle{file: file, sync: flags&syscall.O_DSYNC != 0}, fuse.FOPEN_KEEP_CACHE, 0
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.make(ctx, OpMkdir, name, syscall.S_IFDIR, out, func(path string) error {
		return syscall.Mkdir(path, mode&0o7777)
	})
}

func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.make(ctx, OpLink, name, syscall.S_IFLNK, out, func(path string) error {
		return syscall.Symlink(target, path)
	})
}

func (n *node) make(ctx context.Context, op Ops, name string, mode uint32, out *fuse.EntryOut, create func(string) error) (*fs.Inode, syscall.Errno) {
	if errno := n.enter(ctx, op, name); errno != 0 {
		return nil, errno
	}
	defer n.leave()
	n.disk.names.Lock()
	defer n.disk.names.Unlock()
	if errno := n.missing(name); errno != 0 {
		return nil, errno
	}
	if err := create(n.at(name)); err != nil {
		return nil, fs.ToErrno(err)
	}
	return n.add(ctx, name, newInode(n.disk.nextID(), mode), out)
}

func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	from := target.(*node)
	if errno := n.enterTwo(ctx, OpLink, name, from, ""); errno != 0 {
		return nil, errno
	}
	defer n.leave()
	n.disk.names.Lock()
	defer n.disk.names.Unlock()
	if errno := n.missing(name); errno != 0 {
		return nil, errno
	}
	if from.ino.buried {
		return nil, syscall.ENOENT
	}
	if err := os.Link(n.disk.home(from.ino), n.at(name)); err != nil {
		return nil, fs.ToErrno(err)
	}
	return n.add(ctx, name, from.ino, out)
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno { return n.remove(ctx, name) }

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno { return n.remove(ctx, name) }

func (n *node) remove(ctx context.Context, name string) syscall.Errno {
	if errno := n.enter(ctx, OpUnlink, name); errno != 0 {
		return errno
	}
	defer n.leave()
	d := n.disk
	d.names.Lock()
	defer d.names.Unlock()
	ino := n.ino.live[name]
	if ino == nil {
		return syscall.ENOENT
	}
	if err := d.take(n.ino, name); err != nil {
		return fs.ToErrno(err)
	}
	touches := []*inode{n.ino}
	if ino.isDir() {
		// A directory is gone for good only after all that was in it.
		touches = append(touches, ino)
	}
	d.record(touches, change{n.ino, name, ino, nil})
	return 0
}

func (n *node) Rename(ctx context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if flags&^unix.RENAME_NOREPLACE != 0 {
		return syscall.EINVAL
	}
	to := newParent.(*node)
	if errno := n.enterTwo(ctx, OpRename, name, to, newName); errno != 0 {
		return errno
	}
	defer n.leave()
	d := n.disk
	d.names.Lock()
	defer d.names.Unlock()
	ino, replaced := n.ino.live[name], to.ino.live[newName]
	if ino == nil {
		return syscall.ENOENT
	}
	if errno := to.missing(newName); errno != 0 && (replaced == nil || flags&unix.RENAME_NOREPLACE != 0) {
		return errno
	}
	if ino == replaced {
		return 0
	}
	if replaced != nil {
		if ino.isDir() && !replaced.isDir() {
			return syscall.ENOTDIR
		}
		if !ino.isDir() && replaced.isDir() {
			return syscall.EISDIR
		}
		if err := d.take(to.ino, newName); err != nil {
			return fs.ToErrno(err)
		}
	}
	if err := os.Rename(n.at(name), to.at(newName)); err != nil {
		return fs.ToErrno(err)
	}
	delete(n.ino.live, name)
	delete(ino.links, link{n.ino, name})
	d.put(to.ino, newName, ino)

	touches := []*inode{n.ino}
	if to.ino != n.ino {
		touches = append(touches, to.ino)
		if ino.isDir() {
			// Else two directories might each end up in the other.
			touches = append(touches, d.moves)
		}
	}
	if replaced != nil && replaced.isDir() {
		touches = append(touches, replaced)
	}
	d.record(touches, change{n.ino, name, ino, nil}, change{to.ino, newName, replaced, ino})
	return 0
}
