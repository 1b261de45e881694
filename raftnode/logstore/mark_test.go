package logstore

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	tidemark "tidemark"
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

func TestSlotBytes(t *testing.T) {
	s := slot{kind: BoltDB, making: true, writes: 0x0102030405060708,
		bounds: bounds{first: 11, last: 0x2223242526272829, sum: 0x31323334, stable: 44}}
	b, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	want := "TMLOGMRK\x01\x00\x00\x00\x02\x01\x00\x00" +
		"\x08\x07\x06\x05\x04\x03\x02\x01" + "\x0b\x00\x00\x00\x00\x00\x00\x00" +
		"\x29\x28\x27\x26\x25\x24\x23\x22" + "\x34\x33\x32\x31\x00\x00\x00\x00" +
		"\x2c\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00"
	if string(b[:60]) != want {
		t.Errorf("slot is %q, want %q", b[:60], want)
	}
	if got, err := decodeSlot(b); got != s || err != nil {
		t.Errorf("decodeSlot = %+v, %v", got, err)
	}
	if _, err := (slot{kind: "tape"}).encode(); err == nil {
		t.Error("an unknown kind was written")
	}
}

// diskSlots returns the bounds that each slot of the file holds.
func diskSlots(t testing.TB, path string) (slots [2]slot) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range slots {
		if slots[i], err = decodeSlot(b[i*slotStride:]); err != nil {
			t.Fatal(err)
		}
	}
	return slots
}

// A raise leaves one slot as it was, so that a torn write costs nothing; a set
// leaves nothing of what was there before, so that a log may be cut after it.
func TestMarkSlots(t *testing.T) {
	path := filepath.Join(t.TempDir(), markName)
	if err := createMark(path, slot{kind: WAL}); err != nil {
		t.Fatal(err)
	}
	s, err := readMark(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := openMark(path, s)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	for i := uint64(1); i <= 10; i++ {
		before := diskSlots(t, path)
		if err := m.raise(func(b *bounds) { b.last = 10 * i }); err != nil {
			t.Fatal(err)
		}
		after := diskSlots(t, path)
		if kept := after[0] == before[0]; kept == (after[1] == before[1]) {
			t.Fatalf("raise %d wrote %v over %v", i, after, before)
		}
		if now, err := readMark(path); now.last != 10*i || err != nil {
			t.Fatalf("mark is %+v, %v", now, err)
		}
		if i%3 != 0 {
			continue
		}
		if err := m.set(func(b *bounds) { b.last = i }); err != nil {
			t.Fatal(err)
		}
		for _, s := range diskSlots(t, path) {
			if s.last != i {
				t.Fatalf("a slot says %d after the mark was lowered to %d", s.last, i)
			}
		}
	}
}

func TestReadMarkErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, markName)
	if _, err := readMark(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, n := range []int{0, 1, slotBytes, markBytes} {
		if err := os.WriteFile(path, make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readMark(path); !errors.Is(err, tidemark.ErrCorrupt) {
			t.Errorf("%d zeros: %v", n, err)
		}
	}
}

func TestParseKind(t *testing.T) {
	for _, k := range kinds {
		if got, err := ParseKind(string(k)); got != k || err != nil {
			t.Errorf("ParseKind(%s) = %s, %v", k, got, err)
		}
		if code, err := k.code(); kindOf(code) != k || err != nil {
			t.Errorf("code of %s: %d, %v", k, code, err)
		}
	}
	for _, name := range []string{"", "WAL", "tape"} {
		if _, err := ParseKind(name); !errors.Is(err, tidemark.ErrInvalid) {
			t.Errorf("ParseKind(%q): %v", name, err)
		}
	}
}
