//go:build linux

package disk

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// model is a second, simpler account of what must survive: whole copies of contents
// and names at each sync, for two directories and names that stay in them.
type model struct {
	t    *testing.T
	dir  string
	next int
	// contents holds what each file holds, and held at its last sync, by its number.
	contents, synced map[int][]byte
	// live and durable are the numbers of files by directory and name.
	live, durable map[string]map[string]int
	// since holds the names of each directory after its last sync, and after each
	// step since.
	since map[string][][]string
}

var modelDirs = []string{"a", "b"}

func newModel(t *testing.T, dir string) *model {
	m := &model{t: t, dir: dir, contents: map[int][]byte{}, synced: map[int][]byte{},
		live: map[string]map[string]int{}, durable: map[string]map[string]int{}, since: map[string][][]string{}}
	for _, sub := range modelDirs {
		must(t, os.Mkdir(filepath.Join(dir, sub), 0o700))
		m.live[sub], m.durable[sub] = map[string]int{}, map[string]int{}
		m.since[sub] = [][]string{nil}
	}
	syncDir(t, dir)
	return m
}

// step does one random operation on the disk and on the model.
func (m *model) step(random *rand.Rand) {
	sub := modelDirs[random.IntN(2)]
	m.operate(sub, random)
	m.since[sub] = append(m.since[sub], sortedKeys(m.live[sub]))
}

func (m *model) operate(sub string, random *rand.Rand) {
	names := m.live[sub]
	if len(names) == 0 || random.IntN(12) == 0 {
		m.create(sub, fmt.Sprint(random.IntN(6)))
		return
	}
	name := sortedKeys(names)[random.IntN(len(names))]
	path, number := filepath.Join(m.dir, sub, name), names[name]
	other := fmt.Sprint(random.IntN(6))
	switch draw := random.IntN(20); {
	case draw < 8:
		m.write(path, number, random)
	case draw < 10:
		m.truncate(path, number, int64(random.IntN(20_000)))
	case draw < 13:
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(m.t, err)
		must(m.t, unix.Fdatasync(int(f.Fd())))
		must(m.t, f.Close())
		m.synced[number] = slices.Clone(m.contents[number])
	case draw < 15:
		syncDir(m.t, filepath.Join(m.dir, sub))
		m.durable[sub], m.since[sub] = maps.Clone(m.live[sub]), nil
	case draw < 16:
		must(m.t, os.Remove(path))
		delete(names, name)
	case draw < 18:
		must(m.t, os.Rename(path, filepath.Join(m.dir, sub, other)))
		if names[other] != number {
			delete(names, name)
			names[other] = number
		}
	default:
		if _, ok := names[other]; !ok {
			must(m.t, os.Link(path, filepath.Join(m.dir, sub, other)))
			names[other] = number
		}
	}
}

func (m *model) create(sub, name string) {
	must(m.t, os.WriteFile(filepath.Join(m.dir, sub, name), nil, 0o600))
	if number, ok := m.live[sub][name]; ok {
		m.contents[number] = nil
		return
	}
	m.next++
	m.live[sub][name] = m.next
}

func (m *model) write(path string, number int, random *rand.Rand) {
	offset, data := random.IntN(16_000), make([]byte, 1+random.IntN(6000))
	for i := range data {
		data[i] = byte(random.Uint32() | 1)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(m.t, err)
	_, err = f.WriteAt(data, int64(offset))
	must(m.t, err)
	must(m.t, f.Close())
	m.resize(number, max(len(m.contents[number]), offset+len(data)))
	copy(m.contents[number][offset:], data)
}

func (m *model) truncate(path string, number int, size int64) {
	must(m.t, os.Truncate(path, size))
	m.resize(number, int(size))
}

func (m *model) resize(number, size int) {
	contents := make([]byte, size)
	copy(contents, m.contents[number])
	m.contents[number] = contents
}

// check compares the disk with names and contents.
func (m *model) check(when string, names map[string]map[string]int, contents map[int][]byte) {
	m.t.Helper()
	for _, sub := range modelDirs {
		entries, err := os.ReadDir(filepath.Join(m.dir, sub))
		must(m.t, err)
		var got []string
		for _, entry := range entries {
			got = append(got, entry.Name())
		}
		if want := sortedKeys(names[sub]); !slices.Equal(got, want) {
			m.t.Fatalf("%s: %s holds %v, want %v", when, sub, got, want)
		}
		for name, number := range names[sub] {
			got, err := os.ReadFile(filepath.Join(m.dir, sub, name))
			must(m.t, err)
			if !slices.Equal(got, contents[number]) {
				m.t.Fatalf("%s: %s/%s differs (%d bytes, want %d)", when, sub, name, len(got), len(contents[number]))
			}
		}
	}
}

// fail makes the model what the disk is after it lost all that was not synced.
func (m *model) fail() {
	for _, sub := range modelDirs {
		m.live[sub] = maps.Clone(m.durable[sub])
	}
	for number := range m.contents {
		m.contents[number] = slices.Clone(m.synced[number])
	}
}

// TestAgainstAModel does random operations and power failures.
func TestAgainstAModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			d, dir := mounted(t, Options{})
			m := newModel(t, dir)
			random := rand.New(rand.NewPCG(seed, 0))
			for round := range 12 {
				for range 40 {
					m.step(random)
				}
				m.check(fmt.Sprint("before power failure ", round), m.live, m.contents)
				lose(t, d)
				m.fail()
				m.check(fmt.Sprint("after power failure ", round), m.live, m.contents)
			}
		})
	}
}

// TestWhatSurvivesIsOldOrNew does the same with power failures that keep some: each
// sector is then as it was synced, as it was last, or zeros past what was synced;
// and the names of each directory are those after one of its operations.
func TestWhatSurvivesIsOldOrNew(t *testing.T) {
	t.Parallel()
	for seed := range uint64(15) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			d, dir := mounted(t, Options{})
			m := newModel(t, dir)
			random := rand.New(rand.NewPCG(seed, 1))
			for range 150 {
				m.step(random)
			}
			_, err := d.PowerFailure(seed)
			must(t, err)
			for _, sub := range modelDirs {
				m.checkSurvivors(sub)
			}
		})
	}
}

// checkSurvivors checks the names, and the contents of the files whose names stood
// for the same file at the last sync as when the power failed.
func (m *model) checkSurvivors(sub string) {
	entries, err := os.ReadDir(filepath.Join(m.dir, sub))
	must(m.t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if !slices.ContainsFunc(m.since[sub], func(was []string) bool { return slices.Equal(was, names) }) {
		m.t.Fatalf("%s holds %v, which it never did since its last sync: %v", sub, names, m.since[sub])
	}
	for _, entry := range entries {
		live, ok := m.live[sub][entry.Name()]
		if durable, was := m.durable[sub][entry.Name()]; !ok || !was || live != durable {
			continue
		}
		got, err := os.ReadFile(filepath.Join(m.dir, sub, entry.Name()))
		must(m.t, err)
		m.checkSectors(sub+"/"+entry.Name(), got, m.synced[live], m.contents[live])
	}
}

func (m *model) checkSectors(path string, got, synced, last []byte) {
	if len(got) > max(len(synced), len(last)) || len(got) < min(len(synced), len(last)) {
		m.t.Fatalf("%s has %d bytes, of %d synced and %d at last", path, len(got), len(synced), len(last))
	}
	for at := 0; at < len(got); at += sectorSize {
		end := min(at+sectorSize, len(got))
		if sector := got[at:end]; !slices.Equal(sector, part(synced, at, end)) && !slices.Equal(sector, part(last, at, end)) {
			m.t.Fatalf("%s: the sector at %d is neither old nor new", path, at)
		}
	}
}

// part is contents[at:end], with zeros past the end of the contents.
func part(contents []byte, at, end int) []byte {
	out := make([]byte, end-at)
	if at < len(contents) {
		copy(out, contents[at:])
	}
	return out
}
