//go:build linux

package disk

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkSync appends 4 KiB and syncs, on the file system of the temporary
// directory and on a disk above it.
func BenchmarkSync(b *testing.B) {
	b.Run("bare", func(b *testing.B) { benchmarkSync(b, b.TempDir()) })
	b.Run("disk", func(b *testing.B) {
		_, dir := mounted(b, Options{})
		benchmarkSync(b, dir)
	})
	b.Run("disk that syncs", func(b *testing.B) {
		_, dir := mounted(b, Options{SyncBacking: true})
		benchmarkSync(b, dir)
	})
}

func benchmarkSync(b *testing.B, dir string) {
	f, err := os.Create(filepath.Join(dir, "f"))
	must(b, err)
	defer f.Close()
	block := make([]byte, 4096)
	for b.Loop() {
		_, err := f.Write(block)
		must(b, err)
		must(b, unix.Fdatasync(int(f.Fd())))
	}
}

// BenchmarkWrite overwrites 4 KiB without a sync.
func BenchmarkWrite(b *testing.B) {
	b.Run("bare", func(b *testing.B) { benchmarkWrite(b, b.TempDir()) })
	b.Run("disk", func(b *testing.B) {
		_, dir := mounted(b, Options{})
		benchmarkWrite(b, dir)
	})
}

func benchmarkWrite(b *testing.B, dir string) {
	f, err := os.Create(filepath.Join(dir, "f"))
	must(b, err)
	defer f.Close()
	must(b, f.Truncate(4<<20))
	must(b, f.Sync())
	block := make([]byte, 4096)
	at := int64(0)
	for b.Loop() {
		_, err := f.WriteAt(block, at)
		must(b, err)
		at = (at + 4096) % (4 << 20)
	}
}
