package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidemark/internal/localcluster"
)

// smallDisk mounts a file system of its own for the node's data.
func smallDisk(t *testing.T, node *localcluster.Node, megabytes int) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	mount := filepath.Join(t.TempDir(), "disk")
	if err := os.MkdirAll(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, fmt.Sprintf("size=%dm", megabytes)); err != nil {
		t.Skipf("cannot mount a small file system here: %v", err)
	}
	t.Cleanup(func() {
		if err := node.Kill(); err != nil {
			t.Error(err)
		}
		if err := syscall.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	node.DataDir = filepath.Join(mount, node.ID)
}

// fill writes a file beside the node's data that leaves so much room, and returns
// what removes it.
func fill(t *testing.T, node *localcluster.Node, leave uint64) (remove func()) {
	t.Helper()
	dir := filepath.Dir(node.DataDir)
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		t.Fatal(err)
	}
	free := stat.Bavail * uint64(stat.Bsize)
	if free < leave {
		t.Fatalf("only %d MiB are free", free>>20)
	}
	name := filepath.Join(dir, "big file")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 1<<20)
	for left := free - leave; left > 0; {
		n := min(left, uint64(len(chunk)))
		written, err := file.Write(chunk[:n])
		left -= uint64(written)
		if errors.Is(err, syscall.ENOSPC) {
			// Somebody else took the rest.
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// The disk of the leader fills up: it steps aside before the disk is full and says
// so, the others go on, and it comes back by itself when there is room.
func TestFullDiskStepsAside(t *testing.T) {
	t.Parallel()
	c := describe(t, 3, "--disk-reserve", "64MiB")
	victim := c.Nodes[0]
	smallDisk(t, victim, 512)
	c.startAll()
	cl := c.client()
	if c.leader(cl) != victim {
		c.cli("", "leader", "transfer", victim.ID)
	}
	l := startLoad(c, 16)
	l.waitFor(500)
	l.longestPause()

	remove := fill(t, victim, 40<<20)
	waitUnready(t, victim, "disk is full")
	pid := victim.PID()
	l.waitFor(1000)
	t.Logf("longest pause of appends while the leader stepped aside: %v", l.longestPause().Round(time.Millisecond))
	if leader := c.leader(cl); leader == victim {
		t.Error("the node with the full disk leads")
	}
	if status, _, err := victim.HTTPGet(context.Background(), "/livez"); err != nil || status != http.StatusOK {
		t.Errorf("/livez of a node that waits for room: %d, %v", status, err)
	}

	remove()
	if err := victim.WaitReady(testContext(t, patience)); err != nil {
		t.Fatal(err)
	}
	if victim.PID() != pid {
		t.Error("it is another process")
	}
	l.waitFor(500)
	l.end()
	l.verify(c, c.Nodes...)
	c.stopAll()
	checkStopped(t, c.Nodes...)
}

// The disk is full to the last byte before the node can step aside: the process ends
// with the status for that, waits for room when it is started again, and has lost
// nothing.
func TestFullDiskWithoutReserve(t *testing.T) {
	t.Parallel()
	c := describe(t, 3)
	victim := c.Nodes[0]
	smallDisk(t, victim, 384)
	reserve := victim.Args
	victim.Args = append(victim.Args[:len(victim.Args):len(victim.Args)], "--disk-reserve", "0")
	c.startAll()
	l := startLoad(c, 16)
	l.waitFor(500)

	remove := fill(t, victim, 0)
	status, err := victim.Wait(testContext(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	if log := victim.Log(); status != 4 || !strings.Contains(log, "no space left on device") || !strings.Contains(log, "Make room") {
		t.Errorf("exit status %d, want 4 and what to do", status)
	}
	l.waitFor(500)

	victim.Args = append(reserve, "--disk-reserve", "16MiB")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	waitUnready(t, victim, "waiting for room")
	l.waitFor(500)
	remove()
	if err := victim.WaitReady(testContext(t, patience)); err != nil {
		t.Fatal(err)
	}
	l.waitFor(500)
	l.end()
	l.verify(c, c.Nodes...)
	c.stopAll()
	checkStopped(t, c.Nodes...)
}
