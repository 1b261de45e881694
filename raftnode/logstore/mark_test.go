package logstore

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"testing"
)

// rewriteSlots changes both slots of a mark file and makes their checksums fit.
func rewriteSlots(t testing.TB, path string, change func(b []byte)) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for off := 0; off < markBytes; off += slotStride {
		s := b[off : off+slotBytes]
		change(s)
		binary.LittleEndian.PutUint32(s[60:], crc32.Checksum(s[:60], castagnoli))
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
