package logstore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tidemark "tidemark"
)

// damage is one way to damage a file.
type damage struct {
	name string
	do   func(r *rand.Rand, path string, b []byte) error
}

var damages = []damage{
	{"flip a bit", func(r *rand.Rand, path string, b []byte) error {
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		return os.WriteFile(path, b, 0o600)
	}},
	{"flip a bit of what is not zero", func(r *rand.Rand, path string, b []byte) error {
		i := r.IntN(len(b))
		for n := 0; b[i] == 0 && n < len(b); n++ {
			i = (i + 1) % len(b)
		}
		b[i] ^= 1 << r.IntN(8)
		return os.WriteFile(path, b, 0o600)
	}},
	{"truncate", func(r *rand.Rand, path string, b []byte) error {
		return os.Truncate(path, int64(r.IntN(len(b))))
	}},
	{"fill with zeros", func(r *rand.Rand, path string, b []byte) error {
		i := r.IntN(len(b))
		clear(b[i:min(len(b), i+1+r.IntN(8192))])
		return os.WriteFile(path, b, 0o600)
	}},
	{"fill a sector with noise", func(r *rand.Rand, path string, b []byte) error {
		i := r.IntN(len(b)) &^ 511
		for j := i; j < min(len(b), i+512); j++ {
			b[j] = byte(r.Uint32())
		}
		return os.WriteFile(path, b, 0o600)
	}},
	{"write a page elsewhere", func(r *rand.Rand, path string, b []byte) error {
		from, to := r.IntN(len(b))&^4095, r.IntN(len(b))&^4095
		copy(b[to:min(len(b), to+4096)], bytes.Clone(b[from:min(len(b), from+4096)]))
		return os.WriteFile(path, b, 0o600)
	}},
	{"delete", func(_ *rand.Rand, path string, _ []byte) error { return os.Remove(path) }},
	{"empty", func(_ *rand.Rand, path string, _ []byte) error { return os.Truncate(path, 0) }},
}

// damagedStore makes a log with 1,000 entries, of which the first ones were
// deleted and some in the middle replaced, and a vote.
func damagedStore(t *testing.T, o Options) {
	o.Durable = func() uint64 { return 100 }
	s := mustOpen(t, o)
	mustAppend(t, s, 1, 640, 1)
	if err := s.Log().DeleteRange(1, 20); err != nil {
		t.Fatal(err)
	}
	if err := s.Log().DeleteRange(601, 640); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, 601, 1020, 2)
	setVote(t, s, 1, "n1")
	if err := s.Stable().SetUint64([]byte("CurrentTerm"), 2); err != nil {
		t.Fatal(err)
	}
	setVote(t, s, 2, "n3")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustHoldDamaged(t *testing.T, s *Store) {
	t.Helper()
	mustHold(t, s, 21, 1020, func(i uint64) uint64 {
		if i > 600 {
			return 2
		}
		return 1
	})
	mustHaveVote(t, s, 2, "n3")
	if n, err := s.Stable().GetUint64([]byte("CurrentTerm")); n != 2 || err != nil {
		t.Fatalf("CurrentTerm = %d, %v", n, err)
	}
}

// TestDamageIsNeverSilent damages a log with 1,000 synced entries in many ways.
// Each time it opens with all of them, because unused bytes were hit, or it is
// refused with the name of a file and not touched.
func TestDamageIsNeverSilent(t *testing.T) {
	rounds := 10
	if testing.Short() {
		rounds = 4
	}
	for _, segment := range []int{32 << 10, 1 << 20} {
		forKinds(t, func(t *testing.T, o Options) {
			o.SegmentBytes = segment
			damagedStore(t, o)
			good := readFiles(t, o.Dir)
			names := []string{}
			for name := range good {
				names = append(names, name)
			}
			refused, opened := map[string]int{}, map[string]int{}
			for i := range rounds * len(damages) {
				d := damages[i%len(damages)]
				r := rand.New(rand.NewPCG(uint64(i), uint64(segment)))
				name := sorted(names)[r.IntN(len(names))]
				if tryDamage(t, o, good, d, name, r) {
					opened[d.name]++
				} else {
					refused[d.name]++
				}
				if t.Failed() {
					return
				}
			}
			t.Logf("segments of %d: refused %v, opened whole %v", segment, refused, opened)
		})
	}
}

// tryDamage reports whether the damaged log opened.
func tryDamage(t *testing.T, o Options, good map[string][]byte, d damage, name string, r *rand.Rand) bool {
	t.Helper()
	o.Dir = filepath.Join(t.TempDir(), "raft")
	writeFiles(t, o.Dir, good)
	if err := d.do(r, filepath.Join(o.Dir, name), bytes.Clone(good[name])); err != nil {
		t.Fatal(err)
	}
	before := readFiles(t, o.Dir)
	defer os.RemoveAll(o.Dir)
	s, err := Open(o)
	if err != nil {
		if !errors.Is(err, tidemark.ErrCorrupt) || !strings.Contains(err.Error(), o.Dir) {
			t.Errorf("%s of %s: error is %v", d.name, name, err)
		}
		if diff := diffFiles(before, readFiles(t, o.Dir)); diff != "" {
			t.Errorf("%s of %s: refused, but changed %s: %v", d.name, name, diff, err)
		}
		return false
	}
	defer s.Close()
	if t.Run(d.name+" of "+name, func(t *testing.T) {
		mustHoldDamaged(t, s)
		mustAppend(t, s, 1021, 1100, 3)
	}) {
		s.Close()
		s, err := Open(o)
		if err != nil {
			t.Errorf("%s of %s: opened, but not a second time: %v", d.name, name, err)
			return true
		}
		s.Close()
	}
	return true
}

func readFiles(t testing.TB, dir string) map[string][]byte {
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		files[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func writeFiles(t testing.TB, dir string, files map[string][]byte) {
	for name, b := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func diffFiles(a, b map[string][]byte) string {
	diff := []string{}
	for name := range a {
		if !bytes.Equal(a[name], b[name]) {
			diff = append(diff, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			diff = append(diff, name)
		}
	}
	return strings.Join(sorted(diff), ", ")
}

func TestOneDamagedSlotIsNoHarm(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		damagedStore(t, o)
		good := readFiles(t, o.Dir)
		for off := 0; off < slotBytes; off += 7 {
			for _, slot := range []int{0, slotStride} {
				d := damage{fmt.Sprintf("flip byte %d", off+slot), func(_ *rand.Rand, path string, b []byte) error {
					b[off+slot] ^= 0xff
					return os.WriteFile(path, b, 0o600)
				}}
				if !tryDamage(t, o, good, d, markName, nil) {
					t.Fatalf("byte %d of slot at %d: one damaged slot must not stop the node", off, slot)
				}
			}
		}
		both := damage{"damage both slots", func(_ *rand.Rand, path string, b []byte) error {
			b[20]++
			b[slotStride+20]++
			return os.WriteFile(path, b, 0o600)
		}}
		if tryDamage(t, o, good, both, markName, nil) {
			t.Error("opened with a mark that says nothing")
		}
	})
}
