//go:build linux

package disk

import (
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// graveyard is the directory in the backing directory that holds the contents of
// files without a name that a power failure may bring back, or that are open. The
// root of the mount does not show it.
const graveyard = ".unsynced"

// inode is a file, a directory or a symbolic link. What concerns names is guarded
// by Disk.names, contents and counts by mu.
type inode struct {
	// id is never used twice, in particular not by the same file after a power
	// failure: the kernel takes it for another one and forgets what it had cached.
	id uint64
	// mode is the type: syscall.S_IFREG, S_IFDIR or S_IFLNK.
	mode uint32

	// links are the names that the inode has now. The root has none.
	links map[link]struct{}
	// claims counts what keeps the contents of a file without a name: names that are
	// durable, operations that are not, and open handles.
	claims int
	// buried says that the contents are in the graveyard.
	buried bool
	// live and durable are a directory's names as they are now, and as they are after
	// a power failure that undoes all unsynced operations.
	live, durable map[string]*inode

	mu       sync.Mutex
	contents contents
	counts   Counts
}

type link struct {
	dir  *inode
	name string
}

func newInode(id uint64, mode uint32) *inode {
	ino := &inode{id: id, mode: mode & syscall.S_IFMT, links: map[link]struct{}{}}
	if ino.isDir() {
		ino.live, ino.durable = map[string]*inode{}, map[string]*inode{}
	}
	return ino
}

func (ino *inode) isDir() bool  { return ino.mode == syscall.S_IFDIR }
func (ino *inode) isFile() bool { return ino.mode == syscall.S_IFREG }

// path is one of the paths that the inode has now, relative to the mount, and "" for
// the root. A directory above that was removed shows as "?".
func (d *Disk) path(ino *inode) string {
	if ino == d.root {
		return ""
	}
	for l := range ino.links {
		return filepath.Join(d.path(l.dir), l.name)
	}
	return "?" + strconv.FormatUint(ino.id, 10)
}

// home is where the contents are in the backing directory.
func (d *Disk) home(ino *inode) string {
	if ino.buried {
		return filepath.Join(d.backing, graveyard, strconv.FormatUint(ino.id, 10))
	}
	return filepath.Join(d.backing, d.path(ino))
}

// release forgets the contents of a file that nothing can bring back.
func (d *Disk) release(ino *inode) {
	if ino.claims > 0 || len(ino.links) > 0 || !ino.buried {
		return
	}
	if err := syscall.Unlink(d.home(ino)); err != nil {
		d.logger.Error("contents of a removed file stay", "path", d.home(ino), "error", err)
	}
	ino.buried = false
}

func (d *Disk) claim(ino *inode) {
	if ino != nil {
		ino.claims++
	}
}

func (d *Disk) unclaim(ino *inode) {
	if ino != nil {
		ino.claims--
		d.release(ino)
	}
}

// nextID returns an inode number that was never used.
func (d *Disk) nextID() uint64 { return d.lastID.Add(1) }
