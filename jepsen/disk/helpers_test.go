//go:build linux

package disk

import (
	"os"
	"path/filepath"
	"testing"
)

// mounted returns a disk and where it is mounted.
func mounted(t testing.TB, o Options) (*Disk, string) {
	t.Helper()
	if err := Supported(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	backing, mountpoint := filepath.Join(dir, "backing"), filepath.Join(dir, "mount")
	for _, dir := range []string{backing, mountpoint} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d, err := Mount(backing, mountpoint, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, mountpoint
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write writes the file, and syncs what is asked for: "file", "dir".
func write(t testing.TB, path, contents string, sync ...string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	must(t, err)
	_, err = f.WriteString(contents)
	must(t, err)
	for _, what := range sync {
		if what == "dir" {
			syncDir(t, filepath.Dir(path))
		} else {
			must(t, f.Sync())
		}
	}
	must(t, f.Close())
}

func syncDir(t testing.TB, path string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

// want checks the contents of a file; "-" is that there is none.
func want(t testing.TB, path, contents string) {
	t.Helper()
	got, err := os.ReadFile(path)
	switch {
	case os.IsNotExist(err):
		got = []byte("-")
	case err != nil:
		t.Fatal(err)
	}
	if string(got) != contents {
		t.Fatalf("%s holds %q, want %q", filepath.Base(path), got, contents)
	}
}
