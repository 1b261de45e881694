//go:build linux

package nemesis

import (
	"context"
	"errors"
	"io/fs"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"

	"tidemark/client"
	"tidemark/jepsen/disk"
	"tidemark/jepsen/host"
)

// Each kind of file that is damaged is there in a node's data: a pattern that
// matches nothing would harm nothing, for ever.
func TestKindsOfFilesAreThere(t *testing.T) {
	program := filepath.Join(t.TempDir(), "tidemark")
	if out, err := exec.Command("go", "build", "-o", program, "tidemark/cmd/tidemark").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h, err := host.New(host.Options{Binary: program, Dir: t.TempDir(), Nodes: 2, Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	// A node that is started again has files of a former run.
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := h.Form(ctx); err != nil {
			t.Fatal(err)
		}
		fill(t, ctx, h)
		if err := h.Kill("n1", "n2"); err != nil {
			t.Fatal(err)
		}
	}
	var paths []string
	dir := h.Node("n1").DataDir()
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if info, infoErr := d.Info(); err == nil && infoErr == nil && !d.IsDir() && info.Size() > 0 {
			relative, _ := filepath.Rel(filepath.Dir(dir), path)
			paths = append(paths, relative)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, kind := range kindsOfFiles {
		found := false
		for _, path := range paths {
			found = found || disk.Match(kind.pattern, path)
		}
		if !found {
			t.Errorf("nothing matches %s; there are %v", kind.pattern, paths)
		}
	}
}

// fill appends something, and has all nodes write what they have gathered to a table.
func fill(t *testing.T, ctx context.Context, h *host.Host) {
	t.Helper()
	c, err := client.New(h.Endpoints(), client.WithDialOptions(grpc.WithContextDialer(h.Dial)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 4 {
		if _, err := c.Append(ctx, client.Draft{Timeline: "t", Sender: "alice", Payload: make([]byte, 60<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, endpoint := range h.Endpoints() {
		node, err := client.New([]string{endpoint}, client.WithDialOptions(grpc.WithContextDialer(h.Dial)))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = node.Cluster().TakeSnapshot(ctx)
		if err = errors.Join(err, node.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOnlyARefusalExcusesADamagedNode(t *testing.T) {
	for status, want := range map[int]bool{refused: true, 1: false, 2: false, -1: false} {
		if got := MayEnd("disk-corrupt", status); got != want {
			t.Errorf("with exit status %d a damaged node may end: %v", status, got)
		}
	}
	if MayEnd("kill-one", refused) || !MayEnd("disk-failing", 1) || !Corrupts("disk-corrupt") || Corrupts("disk-full") {
		t.Error("who may end for what is mixed up")
	}
}
