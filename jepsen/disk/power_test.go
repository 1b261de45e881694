//go:build linux

package disk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func lose(t *testing.T, d *Disk) Loss {
	t.Helper()
	loss, err := d.LoseUnsynced()
	must(t, err)
	return loss
}

func TestContentsNeedASyncOfTheFileAndNamesOneOfTheDirectory(t *testing.T) {
	d, dir := mounted(t, Options{})
	both, file, name := filepath.Join(dir, "both"), filepath.Join(dir, "file"), filepath.Join(dir, "name")
	write(t, name, "contents")
	write(t, both, "contents", "file", "dir")
	write(t, file, "contents", "file")
	loss := lose(t, d)
	want(t, both, "contents")
	want(t, file, "-")
	want(t, name, "")
	if loss.Names != 1 || loss.Files != 1 {
		t.Fatalf("lost %+v, want one name and one file", loss)
	}
}

func TestOneJournalKeepsAllNamesBeforeAnyFsync(t *testing.T) {
	d, dir := mounted(t, Options{OneJournal: true})
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
	write(t, filepath.Join(dir, "d", "first"), "1", "file")
	write(t, filepath.Join(dir, "second"), "2")
	lose(t, d)
	want(t, filepath.Join(dir, "d", "first"), "1")
	want(t, filepath.Join(dir, "second"), "-")
}

func TestOverwriteTruncateAndAppendGoBackToTheLastSync(t *testing.T) {
	d, dir := mounted(t, Options{})
	path := filepath.Join(dir, "f")
	old := strings.Repeat("old contents ", 2000)
	write(t, path, old, "file", "dir")
	for name, change := range map[string]func(f *os.File) error{
		"overwrite": func(f *os.File) error { _, err := f.WriteAt([]byte(strings.Repeat("x", 9000)), 1000); return err },
		"append": func(f *os.File) error {
			_, err := f.WriteAt([]byte(strings.Repeat("x", 9000)), int64(len(old)))
			return err
		},
		"truncate": func(f *os.File) error { return f.Truncate(100) },
		"regrow":   func(f *os.File) error { return errors.Join(f.Truncate(5000), f.Truncate(20_000)) },
		"allocate": func(f *os.File) error { return unix.Fallocate(int(f.Fd()), 0, 0, 1<<20) },
		"punch": func(f *os.File) error {
			return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 4096, 8192)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			must(t, err)
			must(t, change(f))
			must(t, f.Close())
			lose(t, d)
			want(t, path, old)
		})
	}
}

func TestSynchronousWritesNeedNoSync(t *testing.T) {
	d, dir := mounted(t, Options{})
	path := filepath.Join(dir, "f")
	write(t, path, "", "file", "dir")
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_DSYNC, 0)
	must(t, err)
	_, err = f.WriteString("contents")
	must(t, err)
	must(t, f.Close())
	lose(t, d)
	want(t, path, "contents")
}

func TestRenameUnlinkAndLinkGoBackWithoutASyncOfTheDirectory(t *testing.T) {
	d, dir := mounted(t, Options{})
	a, b, c := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")
	write(t, a, "a", "file")
	write(t, b, "b", "file", "dir")

	must(t, os.Rename(a, b))
	want(t, b, "a")
	lose(t, d)
	want(t, a, "a")
	want(t, b, "b")

	must(t, os.Rename(a, b))
	syncDir(t, dir)
	lose(t, d)
	want(t, a, "-")
	want(t, b, "a")

	must(t, os.Link(b, c))
	must(t, os.Remove(b))
	lose(t, d)
	want(t, b, "a")
	want(t, c, "-")

	must(t, os.Link(b, c))
	must(t, os.Remove(b))
	syncDir(t, dir)
	lose(t, d)
	want(t, b, "-")
	want(t, c, "a")

	must(t, os.Remove(c))
	lose(t, d)
	want(t, c, "a")
	must(t, os.Remove(c))
	syncDir(t, dir)
	lose(t, d)
	want(t, c, "-")
}

func TestAFileThatMovesBetweenDirectoriesIsInOneOfThem(t *testing.T) {
	d, dir := mounted(t, Options{})
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	for seed := range uint64(20) {
		must(t, os.MkdirAll(from, 0o755))
		must(t, os.MkdirAll(to, 0o755))
		write(t, filepath.Join(from, "f"), "contents", "file", "dir")
		syncDir(t, to)
		syncDir(t, dir)
		must(t, os.Rename(filepath.Join(from, "f"), filepath.Join(to, "f")))
		if seed%2 == 0 {
			// Either directory makes the move durable.
			syncDir(t, from)
		}
		_, err := d.PowerFailure(seed)
		must(t, err)
		_, inFrom := os.Stat(filepath.Join(from, "f"))
		_, inTo := os.Stat(filepath.Join(to, "f"))
		if (inFrom == nil) == (inTo == nil) || seed%2 == 0 && inTo != nil {
			t.Fatalf("seed %d: in from: %v, in to: %v", seed, inFrom, inTo)
		}
		must(t, os.RemoveAll(from))
		must(t, os.RemoveAll(to))
		syncDir(t, dir)
	}
}

func TestASyncOfADirectoryKeepsWhatItsNamesCameFrom(t *testing.T) {
	d, dir := mounted(t, Options{})
	at := func(sub string) string { return filepath.Join(dir, sub, "f") }
	for _, sub := range []string{"first", "second", "third"} {
		must(t, os.Mkdir(filepath.Join(dir, sub), 0o700))
	}
	syncDir(t, dir)
	write(t, at("first"), "contents", "file", "dir")
	must(t, os.Rename(at("first"), at("second")))
	must(t, os.Rename(at("second"), at("third")))
	syncDir(t, filepath.Join(dir, "third"))
	lose(t, d)
	want(t, at("first"), "-")
	want(t, at("second"), "-")
	want(t, at("third"), "contents")
}

// TestDirectoriesThatMoveAreNeverInEachOther is what two moves would do of which
// only the later ones survive.
func TestDirectoriesThatMoveAreNeverInEachOther(t *testing.T) {
	d, dir := mounted(t, Options{})
	at := func(path string) string { return filepath.Join(dir, path) }
	for seed := range uint64(30) {
		for _, sub := range []string{"p", "p/a", "q", "q/b"} {
			must(t, os.Mkdir(at(sub), 0o700))
			syncDir(t, filepath.Dir(at(sub)))
		}
		must(t, os.Rename(at("p/a"), at("q/b/a")))
		must(t, os.Rename(at("q/b/a"), at("p/a")))
		must(t, os.Rename(at("q/b"), at("p/a/b")))
		_, err := d.PowerFailure(seed)
		must(t, err)
		found := 0
		must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if name := filepath.Base(path); name == "a" || name == "b" {
				found++
			}
			return err
		}))
		if found != 2 {
			t.Fatalf("seed %d: %d of two directories are there", seed, found)
		}
		must(t, os.RemoveAll(at("p")))
		must(t, os.RemoveAll(at("q")))
		syncDir(t, dir)
	}
}

func TestWithoutTheNameOfItsDirectoryAFileIsGone(t *testing.T) {
	d, dir := mounted(t, Options{})
	sub := filepath.Join(dir, "sub")
	must(t, os.Mkdir(sub, 0o700))
	write(t, filepath.Join(sub, "f"), "contents", "file", "dir")
	lose(t, d)
	if _, err := os.Stat(sub); !os.IsNotExist(err) {
		t.Fatalf("stat: %v", err)
	}
	must(t, os.Mkdir(sub, 0o700))
	write(t, filepath.Join(sub, "f"), "contents", "file", "dir")
	syncDir(t, dir)
	lose(t, d)
	want(t, filepath.Join(sub, "f"), "contents")
	info, err := os.Stat(sub)
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Fatalf("mode %v", info.Mode())
	}
}

func TestWhatIsOpenAtAPowerFailureWorksNoMore(t *testing.T) {
	d, dir := mounted(t, Options{})
	path := filepath.Join(dir, "f")
	write(t, path, "contents", "file", "dir")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	lose(t, d)
	if _, err := f.WriteString("x"); !errors.Is(err, syscall.EIO) {
		t.Fatalf("write: %v", err)
	}
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync: %v", err)
	}
	want(t, path, "contents")
}

// TestAWriteIsTorn finds, over seeds, all kinds of survival of an append of 64
// sectors: none, all, some from the front, and some with gaps.
func TestAWriteIsTorn(t *testing.T) {
	d, dir := mounted(t, Options{})
	path := filepath.Join(dir, "f")
	write(t, path, "", "file", "dir")
	found := map[string]int{}
	for seed := range uint64(60) {
		write(t, path, strings.Repeat("x", 64*sectorSize))
		_, err := d.PowerFailure(seed)
		must(t, err)
		got, err := os.ReadFile(path)
		must(t, err)
		kept := strings.Count(string(got), "x")
		switch zeros := strings.Count(string(got), "\x00"); {
		case kept%sectorSize != 0 || zeros%sectorSize != 0 || kept+zeros != len(got):
			t.Fatalf("seed %d: half a sector survived", seed)
		case len(got) == 0:
			found["none"]++
		case kept == 64*sectorSize:
			found["all"]++
		case zeros == 0:
			found["front"]++
		default:
			found["gaps"]++
		}
		must(t, os.Truncate(path, 0))
		write(t, path, "", "file")
	}
	if len(found) != 4 {
		t.Fatalf("found %v", found)
	}
}

func TestTheSameSeedLosesTheSame(t *testing.T) {
	run := func() (string, Loss) {
		d, dir := mounted(t, Options{})
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			write(t, filepath.Join(dir, name), strings.Repeat(name, 30_000))
		}
		loss, err := d.PowerFailure(17)
		must(t, err)
		var all string
		entries, err := os.ReadDir(dir)
		must(t, err)
		for _, entry := range entries {
			contents, err := os.ReadFile(filepath.Join(dir, entry.Name()))
			must(t, err)
			all += entry.Name() + string(contents)
		}
		return all, loss
	}
	first, loss := run()
	second, again := run()
	if first != second || loss != again {
		t.Fatalf("%+v and %+v", loss, again)
	}
}
