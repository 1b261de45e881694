// Package crashfs is the file system in memory on which tests of the store lose power.
package crashfs

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is Pebble's MemFS, of which CrashClone can be called while files are linked. MemFS itself
// (v2.1.7) takes the lock that CrashClone waits for twice in Link, and both wait for ever when
// CrashClone comes between the two.
type FS struct {
	*vfs.MemFS
	links sync.RWMutex
}

// New returns an empty file system.
func New() *FS { return &FS{MemFS: vfs.NewCrashableMem()} }

// Link implements vfs.FS.
func (f *FS) Link(old, new string) error {
	f.links.RLock()
	defer f.links.RUnlock()
	return f.MemFS.Link(old, new)
}

// CrashClone returns what a loss of power now would leave.
func (f *FS) CrashClone(how vfs.CrashCloneCfg) *FS {
	f.links.Lock()
	defer f.links.Unlock()
	return &FS{MemFS: f.MemFS.CrashClone(how)}
}
