//go:build linux

package disk

import (
	"bytes"
	"errors"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAFlippedBitShowsAndStays(t *testing.T) {
	d, dir := mounted(t, Options{})
	old := strings.Repeat("contents", 5000)
	path := filepath.Join(dir, "f")
	write(t, path, old, "file", "dir")
	// Its pages are in the kernel, and its block is overwritten but not synced.
	want(t, path, old)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("xxxx"), 4096)
	must(t, err)
	must(t, f.Close())
	for _, offset := range []int64{-1, 4100} {
		before, err := os.ReadFile(path)
		must(t, err)
		damage, err := d.FlipBit("*", offset, 5)
		must(t, err)
		after, err := os.ReadFile(path)
		must(t, err)
		checkFlip(t, before, after, damage)
	}
	lose(t, d)
	after, err := os.ReadFile(path)
	must(t, err)
	flips := 0
	for i := range after {
		flips += bits.OnesCount8(after[i] ^ old[i])
	}
	if flips != 2 {
		t.Fatalf("%d bits differ after the power failure, want 2", flips)
	}
	if _, err := d.FlipBit("nothing", -1, 1); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("no file matches: %v", err)
	}
}

func checkFlip(t *testing.T, before, after []byte, damage Damage) {
	t.Helper()
	if damage.Path != "f" || after[damage.Offset] != before[damage.Offset]^1<<damage.Bit {
		t.Fatalf("%+v is not there", damage)
	}
	after[damage.Offset] = before[damage.Offset]
	if !bytes.Equal(before, after) {
		t.Fatal("more than a bit differs")
	}
}

func TestTruncateAndRollBackStay(t *testing.T) {
	d, dir := mounted(t, Options{})
	sub := filepath.Join(dir, "sub")
	must(t, os.Mkdir(sub, 0o700))
	syncDir(t, dir)
	path := filepath.Join(sub, "f")
	write(t, path, "old", "file", "dir")
	saved, err := d.Save("sub/f")
	must(t, err)
	write(t, path, "newer contents", "file")
	must(t, d.RollBack(saved))
	want(t, path, "old")
	lose(t, d)
	want(t, path, "old")
	write(t, path, "newer contents", "file")
	must(t, d.RollBack(saved))
	want(t, path, "old")

	damage, err := d.Truncate("sub/*", 2, 1)
	must(t, err)
	if damage.Path != "sub/f" || damage.Offset != 2 {
		t.Fatalf("%+v", damage)
	}
	want(t, path, "ol")
	lose(t, d)
	want(t, path, "ol")
	if _, err := d.Save("missing"); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("save: %v", err)
	}
}
