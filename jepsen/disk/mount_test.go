//go:build linux

package disk

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestWhatTheBackingDirectoryHoldsIsDurable(t *testing.T) {
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	backing, mountpoint := t.TempDir(), t.TempDir()
	must(t, os.MkdirAll(filepath.Join(backing, "a", "b"), 0o755))
	must(t, os.WriteFile(filepath.Join(backing, "a", "b", "f"), []byte("contents"), 0o600))
	must(t, os.Link(filepath.Join(backing, "a", "b", "f"), filepath.Join(backing, "a", "link")))
	must(t, os.Symlink("b", filepath.Join(backing, "a", "symlink")))
	for range 2 {
		d, err := Mount(backing, mountpoint, Options{})
		must(t, err)
		t.Cleanup(func() { must(t, d.Close()) })
		write(t, filepath.Join(mountpoint, "a", "link"), "lost")
		lose(t, d)
		want(t, filepath.Join(mountpoint, "a", "b", "f"), "contents")
		want(t, filepath.Join(mountpoint, "a", "symlink", "f"), "contents")
		must(t, d.Close())
		must(t, d.Close())
		want(t, filepath.Join(backing, "a", "link"), "contents")
		entries, err := os.ReadDir(backing)
		must(t, err)
		if len(entries) != 1 {
			t.Fatalf("%v are left", entries)
		}
	}
}

func TestCloseUnmountsWhatIsInUse(t *testing.T) {
	d, dir := mounted(t, Options{})
	path := filepath.Join(dir, "f")
	write(t, path, "contents")
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	if err := d.Close(); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("close: %v", err)
	}
	if mounts := mountsBelow(t, dir); mounts != 0 {
		t.Fatalf("%d mounts are left", mounts)
	}
}

// TestCleanUpUnmountsWhatADeadProcessLeft mounts in a process that ends without Close.
func TestCleanUpUnmountsWhatADeadProcessLeft(t *testing.T) {
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	cmd := childCommand("leave", dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if !bufio.NewScanner(out).Scan() {
		t.Fatal("the process did not mount")
	}
	// Its process lives.
	must(t, CleanUp(dir))
	if mounts := mountsBelow(t, dir); mounts != 1 {
		t.Fatalf("%d mounts, want the one in use", mounts)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	must(t, CleanUp(filepath.Join(dir, "elsewhere")))
	if mounts := mountsBelow(t, dir); mounts != 1 {
		t.Fatalf("%d mounts after a clean-up of another directory", mounts)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if err := CleanUp(dir); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if mounts := mountsBelow(t, dir); mounts != 0 {
		t.Fatalf("%d mounts are left", mounts)
	}
	want(t, filepath.Join(dir, "backing", "f"), "contents")
}

// leave mounts, and waits to be killed.
func leave(dir string) error {
	backing, mountpoint := filepath.Join(dir, "backing"), filepath.Join(dir, "mount point")
	for _, dir := range []string{backing, mountpoint} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if _, err := Mount(backing, mountpoint, Options{}); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(mountpoint, "f"), []byte("contents"), 0o600); err != nil {
		return err
	}
	fmt.Println("mounted")
	select {}
}

func mountsBelow(t *testing.T, dir string) int {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	must(t, err)
	return strings.Count(string(mounts), " "+dir)
}

func TestStatsCount(t *testing.T) {
	d, dir := mounted(t, Options{})
	path := filepath.Join(dir, "f")
	write(t, path, "contents", "file", "file", "dir")
	must(t, appendTo(path, false))
	s := d.Stats()
	if f := s.Files["f"]; f.Syncs != 2 || f.Writes != 2 || f.WroteBytes != 12 {
		t.Errorf("counts of the file: %+v", f)
	}
	if s.Syncs != 3 || s.UnsyncedFiles != 1 || s.UnsyncedNames != 0 {
		t.Errorf("counts: %+v", s)
	}
	lose(t, d)
	if s := d.Stats(); s.UnsyncedFiles != 0 || s.PowerFailures != 1 {
		t.Errorf("counts after a power failure: %+v", s)
	}
}
