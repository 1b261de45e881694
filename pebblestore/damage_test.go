package pebblestore_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
	"tidemark/internal/crashfs"
	"tidemark/pebblestore"
	"tidemark/pebblestore/storetest"
)

// soundStore fills a store in a directory, with tables and a log, and returns what
// it holds and its files by the start or the end of their names.
func soundStore(t *testing.T, dir string) *model {
	t.Helper()
	o := storetest.Options(t, nil)
	o.MemTableBytes = 4 << 20 // so that nothing is flushed but for the snapshot
	s, err := pebblestore.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	c, m := chance{rand.New(rand.NewPCG(8, 8))}, newModel()
	for range 60 {
		m = c.batch(t, s, m)
	}
	snapshot, err := s.OpenSnapshot() // writes the memtable out
	if err != nil {
		t.Fatal(err)
	}
	for range 60 {
		m = c.batch(t, s, m)
	}
	if err := errors.Join(snapshot.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	return m
}

func oneFile(t *testing.T, dir, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "generation-*", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no file %s: %v", pattern, err)
	}
	largest := files[0]
	for _, file := range files {
		if size(t, file) > size(t, largest) {
			largest = file
		}
	}
	return largest
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// useAll opens a store and reads all of it, by its reads and by Check.
func useAll(t *testing.T, dir string, m *model) error {
	t.Helper()
	s, err := pebblestore.Open(dir, storetest.Options(t, nil))
	if err != nil {
		return err
	}
	_, err = s.Check(nil)
	for id := range m.timelines {
		page, readErr := s.Read(tidemark.Range{Timeline: id, Limit: 1 << 20, MaxBytes: 1 << 30})
		want, _ := m.read(tidemark.Range{Timeline: id, Limit: 1 << 20, MaxBytes: 1 << 30})
		if readErr == nil && err == nil && page.Head.Digest != want.Head.Digest {
			err = fmt.Errorf("%s was read as if it ended at %d, not %d", id, page.Head.Last, want.Head.Last)
		}
		if readErr != nil && !errors.Is(readErr, tidemark.ErrCorrupt) {
			t.Errorf("read: got %v, want ErrCorrupt", readErr)
		}
	}
	return errors.Join(err, s.Close())
}

// TestDamagedFiles flips a bit in, cuts and removes each kind of file that holds
// what was synced. Each time the file is named, and the store is refused.
func TestDamagedFiles(t *testing.T) {
	flip := func(at float64) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			data[int(at*float64(len(data)-1))] ^= 0x10
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	damages := map[string]func(t *testing.T, path string){
		"flip at the start": flip(0.01), "flip in the middle": flip(0.5), "flip near the end": flip(0.99),
		"cut": func(t *testing.T, path string) {
			if err := os.Truncate(path, size(t, path)/2); err != nil {
				t.Fatal(err)
			}
		},
		"remove": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
	}
	for _, pattern := range []string{"*.sst", "MANIFEST-*", "../CURRENT"} {
		for name, damage := range damages {
			t.Run(strings.TrimLeft(pattern, "*./")+" "+name, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "store")
				m := soundStore(t, dir)
				path := oneFile(t, dir, pattern)
				damage(t, path)
				err := useAll(t, dir, m)
				if err == nil && pattern == "MANIFEST-*" {
					return // all is there
				}
				if !errors.Is(err, tidemark.ErrCorrupt) {
					t.Fatalf("got %v, want ErrCorrupt", err)
				}
				base := strings.TrimSuffix(filepath.Base(path), ".sst")
				if !strings.Contains(err.Error(), base) {
					t.Errorf("%v: does not name %s", err, base)
				}
			})
		}
	}
}

// TestDamagedLog flips a bit in, cuts and removes the log that a dead process of a
// former version left, all of it synced. It is refused and named, unless nothing was lost.
func TestDamagedLog(t *testing.T) {
	fs := crashfs.New()
	o := storetest.Options(t, fs)
	o.MemTableBytes = 4 << 20 // so that nothing is flushed
	s := storetest.OpenAt(t, storetest.Dir, o)
	c, m := chance{rand.New(rand.NewPCG(8, 8))}, newModel()
	for range 40 {
		m = c.batch(t, s, m)
		if err := errors.Join(s.FlushIntoLog(), s.Sync()); err != nil {
			t.Fatal(err)
		}
	}
	damages := map[string]func(data []byte) []byte{
		"cut in the middle": func(data []byte) []byte { return data[:len(data)/2] },
		"cut to nothing":    func([]byte) []byte { return nil },
		"remove":            nil,
	}
	for at := 0.01; at <= 1; at += 0.07 {
		damages[fmt.Sprintf("flip at %.2f", at)] = func(data []byte) []byte { return flipped(data, int(at*float64(len(data)))) }
	}
	for name, damage := range damages {
		left := fs.CrashClone(vfs.CrashCloneCfg{})
		path := damageLog(t, left, damage)
		again, err := pebblestore.Open(storetest.Dir, storetest.Options(t, left))
		if err == nil {
			t.Errorf("%s: the store opened at index %d of %d", name, again.Applied().Index, m.applied.Index)
			mustClose(t, again)
			continue
		}
		named := strings.Contains(err.Error(), filepath.Base(path)) || strings.HasPrefix(name, "remove") || strings.HasPrefix(name, "cut to")
		if !errors.Is(err, tidemark.ErrCorrupt) || !named {
			t.Errorf("%s: got %v; want ErrCorrupt that names %s", name, err, filepath.Base(path))
		}
	}
}

// damageLog changes what was written of the log, or removes the log, and returns its path.
func damageLog(t *testing.T, fs vfs.FS, damage func([]byte) []byte) string {
	t.Helper()
	dir := fs.PathJoin(storetest.Dir, "generation-000001")
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		data := bytes.TrimRight(read(t, fs, path), "\x00")
		if len(data) < 100 {
			continue
		}
		if damage != nil {
			overwrite(t, fs, path, damage(data))
		} else if err := fs.Remove(path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Fatal("there is no log")
	return ""
}

// TestDamagedManifest cuts the manifest at each of its bytes, and flips each. The
// store is refused if less is left than was durable. If nothing was known to be
// durable, it is refused or holds an exact prefix: never a state with a hole in it.
func TestDamagedManifest(t *testing.T) {
	for name, synced := range map[string]bool{"synced": true, "never synced": false} {
		t.Run(name, func(t *testing.T) {
			fs, history := flushedStore(t, synced)
			path := currentManifest(t, fs)
			whole := read(t, fs, path)
			last := slices.Max(slices.Collect(maps.Keys(history)))
			refused, opened := 0, 0
			for at := range whole {
				for _, damaged := range [][]byte{whole[:at], flipped(whole, at)} {
					left := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
					overwrite(t, left, path, damaged)
					switch index, ok := opensAsPrefix(t, left, history); {
					case !ok:
						refused++
					case synced && index != last:
						t.Fatalf("damage at %d: index %d is left, %d was durable", at, index, last)
					default:
						opened++
					}
				}
			}
			// What was never known to be durable may be less than it was: it comes again from the Raft log.
			if synced && refused < opened || refused == 0 {
				t.Errorf("%d damaged manifests were refused, and %d opened", refused, opened)
			}
		})
	}
}

// flushedStore leaves a store as a process that dies leaves it, with tables of some flushes.
func flushedStore(t *testing.T, synced bool) (*crashfs.FS, map[uint64]*model) {
	fs := crashfs.New()
	o := storetest.Options(t, fs)
	o.MemTableBytes = 64 << 10
	s := storetest.OpenAt(t, storetest.Dir, o)
	c, m := chance{rand.New(rand.NewPCG(8, 9))}, newModel()
	history := map[uint64]*model{0: m}
	for more := 12; more > 0; {
		m = c.batch(t, s, m)
		history[m.applied.Index] = m
		if s.Metrics().Flushes >= 3 {
			more--
		}
	}
	if synced {
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	return fs, history
}

func currentManifest(t *testing.T, fs vfs.FS) string {
	t.Helper()
	dir := fs.PathJoin(storetest.Dir, "generation-000001")
	description, err := pebble.Peek(dir, fs)
	if err != nil {
		t.Fatal(err)
	}
	return description.ManifestFilename
}

// opensAsPrefix opens a damaged store. It may be refused, or hold what some batch left.
func opensAsPrefix(t *testing.T, fs vfs.FS, history map[uint64]*model) (index uint64, ok bool) {
	t.Helper()
	s, err := pebblestore.Open(storetest.Dir, storetest.Options(t, fs))
	if err != nil {
		// A manifest that was cut between two records looks whole, so only the
		// database is named.
		if !errors.Is(err, tidemark.ErrCorrupt) || !strings.Contains(err.Error(), "generation-000001") {
			t.Fatalf("got %v, want ErrCorrupt that names the database", err)
		}
		return 0, false
	}
	m := history[s.Applied().Index]
	if m == nil {
		t.Fatalf("index %d is left, at which no batch ended", s.Applied().Index)
	}
	m.same(t, s)
	mustClose(t, s)
	return m.applied.Index, true
}

func flipped(data []byte, at int) []byte {
	data = bytes.Clone(data)
	data[at] ^= 0x10
	return data
}

func read(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	file, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(file)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	return data
}

func overwrite(t *testing.T, fs vfs.FS, path string, data []byte) {
	t.Helper()
	file, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.Write(data)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestNewerFormatIsUntouched: what a later version wrote is refused, and not one
// byte or name of it changes.
func TestNewerFormatIsUntouched(t *testing.T) {
	build := func(t *testing.T) *crashfs.FS {
		fs := crashfs.New()
		s, err := pebblestore.Open(storetest.Dir, storetest.Options(t, fs))
		if err != nil {
			t.Fatal(err)
		}
		commit(t, s, 1, draft("a", "m1", "x"))
		mustClose(t, s)
		return fs
	}
	write := func(t *testing.T, fs vfs.FS, path, text string) {
		overwrite(t, fs, fs.PathJoin(storetest.Dir, path), []byte(text))
	}
	for name, change := range map[string]func(t *testing.T, fs vfs.FS){
		"store": func(t *testing.T, fs vfs.FS) {
			write(t, fs, "CURRENT", "tidemark store 3\nin words that are not known yet")
			write(t, fs, "generation-000007", "a file where there was a directory")
			write(t, fs, "checkpoint-000008", "which an older version would remove")
		},
		"database": func(t *testing.T, fs vfs.FS) {
			write(t, fs, "generation-000001/marker.format-version.000999.999", "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs := build(t)
			change(t, fs)
			before := contents(t, fs, "")
			if _, err := pebblestore.Open(storetest.Dir, storetest.Options(t, fs)); !errors.Is(err, tidemark.ErrNewerFormat) {
				t.Errorf("got %v, want ErrNewerFormat", err)
			}
			if after := contents(t, fs, ""); after != before {
				t.Errorf("the files were changed:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// contents renders all names and bytes below a directory.
func contents(t *testing.T, fs vfs.FS, dir string) string {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	var out strings.Builder
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		info, err := fs.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			out.WriteString(contents(t, fs, path))
			continue
		}
		data := read(t, fs, path)
		fmt.Fprintf(&out, "%s %d bytes, %x\n", path, len(data), sha256.Sum256(data))
	}
	return out.String()
}
