package sim

import (
	"os"
	"testing"

	"github.com/hashicorp/raft"

	"tidemark/raftnode/logstore"
)

// disks are real directories with the server's own log store, one for each node. Its calls
// take no virtual time, and nobody waits for a timer while he holds a lock.
type disks struct {
	t    *testing.T
	dirs map[raft.ServerID]string
}

func newDisks(t *testing.T) *disks { return &disks{t, map[raft.ServerID]string{}} }

// open opens a node's store on what the one before left, as at a crash of the process.
func (d *disks) open(n *bareNode) *logstore.Store {
	d.t.Helper()
	dir := d.t.TempDir()
	if before, ok := d.dirs[n.config.LocalID]; ok {
		if err := os.CopyFS(dir, os.DirFS(before)); err != nil {
			d.t.Fatal(err)
		}
	}
	d.dirs[n.config.LocalID] = dir
	store, err := logstore.Open(logstore.Options{
		Kind: logstore.BoltDB, Dir: dir, Durable: n.machine.durable,
		Fatal: func(err error) { d.t.Errorf("log store of %s: %v", n.config.LocalID, err) },
	})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if err := store.Close(); err != nil {
			d.t.Error(err)
		}
	})
	return store
}
