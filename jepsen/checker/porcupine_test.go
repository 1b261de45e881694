package checker

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

func quick(folder string) PorcupineOptions {
	return PorcupineOptions{Timeout: 5 * time.Second, Budget: 30 * time.Second, MaxOperations: 2000, Windows: 6, Folder: folder}
}

// Porcupine finds right histories linearizable, whole and in windows.
func TestPorcupineAcceptsRightHistories(t *testing.T) {
	for seed := range uint64(5) {
		for _, limit := range []int{2000, 60} {
			options := quick("")
			options.MaxOperations = limit
			c := Porcupine(options)
			if found := c.Check(generate(small(seed))); len(found) > 0 {
				t.Fatalf("seed %d, limit %d: %+v", seed, limit, found[0])
			}
			for _, r := range c.Results() {
				if r.Result != porcupine.Ok || (r.Last == 0) != (limit == 2000) {
					t.Fatalf("seed %d, limit %d: %+v", seed, limit, r)
				}
			}
		}
	}
}

// What is not linearizable is found by Porcupine too, on its own grounds. It takes no
// notice of weaker reads, so what only those contradict it finds in some histories only.
func TestPorcupineFindsMutations(t *testing.T) {
	const some, all = false, true
	for name, always := range map[string]bool{
		"lose the last acknowledged message on every node": all,
		"lose the last acknowledged message on one node":   all,
		"swap two SeqIds in the answers":                   all,
		"answer a retry with another SeqId":                all,
		"fail an append that is there":                     all,
		"double one message":                               all,
		"acknowledge a retry as the first":                 all,
		"swap two messages everywhere":                     all,
		"serve one stale linearizable head":                all,
		"serve one stale linearizable page":                some,
		"do not find what is there":                        all,
		"append after another SeqId than expected":         all,
		"show another message on one node":                 all,
		"show a message that nobody sent":                  all,
		"show other content than was sent":                 all,
		"show half of an atomic batch":                     some,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := slices.IndexFunc(mutations, func(m mutation) bool { return m.name == name })
			applied, found := 0, 0
			for seed := range uint64(3) {
				h := generate(workload{seed: 2000 + seed, operations: 400, processes: 6, timelines: 3, pageLimit: 20})
				if !mutations[at].apply(&mutant{h, newIndex(h)}) {
					continue
				}
				applied++
				if len(Porcupine(quick("")).Check(h)) > 0 {
					found++
				}
			}
			if found == 0 || always && found < applied {
				t.Errorf("found in %d of %d histories", found, applied)
			}
		})
	}
}

// A timeline that is not linearizable gets a page, and so does a chosen one.
func TestPorcupineDraws(t *testing.T) {
	folder := t.ArtifactDir()
	h := generate(small(1))
	options := quick(folder)
	options.Pictures = 1
	if found := Porcupine(options).Check(h); len(found) > 0 {
		t.Fatal(found)
	}
	assertPages(t, folder, 1)
	m := &mutant{h, newIndex(h)}
	if !m.swapAnswers() {
		t.Fatal("the history has no place for the mutation")
	}
	options.Pictures = 0
	options.Folder = t.TempDir()
	found := Porcupine(options).Check(h)
	if len(found) != 1 || len(found[0].Operations) == 0 || !strings.Contains(found[0].Summary, "porcupine-conv-2F") {
		t.Fatalf("%+v", found)
	}
	assertPages(t, options.Folder, 1)
}

func assertPages(t *testing.T, folder string, want int) {
	t.Helper()
	pages, err := filepath.Glob(filepath.Join(folder, "porcupine-*.html"))
	if err != nil || len(pages) != want {
		t.Fatalf("pages %v, %v; want %d", pages, err, want)
	}
	page, err := os.ReadFile(pages[0])
	if err != nil || !strings.Contains(string(page), "kill n2") || !strings.Contains(string(page), "append m-") {
		t.Errorf("the page shows neither faults nor appends (%v)", err)
	}
}

// What does not fit into the budget is said.
func TestPorcupineSaysWhatItDidNotJudge(t *testing.T) {
	options := quick("")
	options.Budget = 0
	c := Porcupine(options)
	v := Judge(generate(small(1)), []Checker{c})
	if !v.OK() || len(v.Notes) != 5 || !strings.Contains(v.Notes[4], "4 were not finished") {
		t.Errorf("%q", v.Notes)
	}
}
