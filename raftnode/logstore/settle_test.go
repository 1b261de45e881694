package logstore

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What a killed process wrote and did not sync is synced before the mark says that it
// is there, and before anybody can count on it.
func TestOpenSyncsWhatItFinds(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		s := mustOpen(t, o)
		mustAppend(t, s, 1, 200, 1)
		if err := s.Stable().SetUint64([]byte("CurrentTerm"), 3); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		mark := filepath.Join(o.Dir, markName)
		before, err := os.ReadFile(mark)
		if err != nil {
			t.Fatal(err)
		}
		var synced []string
		o.sync = func(path string) error {
			now, err := os.ReadFile(mark)
			if err != nil || !slices.Equal(now, before) {
				t.Errorf("the mark was written before %s was synced (%v)", path, err)
			}
			synced = append(synced, path)
			return nil
		}
		s = mustOpen(t, o)
		defer s.Close()
		want := []string{o.Dir, filepath.Join(o.Dir, stableName), o.logPath()}
		if o.Kind == WAL {
			files, err := filepath.Glob(filepath.Join(o.logPath(), "*"))
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, files...)
		}
		for _, path := range want {
			if !slices.Contains(synced, path) {
				t.Errorf("%s was not synced, but %v", path, synced)
			}
		}
	})
}
