package peer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"tidemark"
)

func openRegistry(t *testing.T, path string) *FileRegistry {
	t.Helper()
	r, err := OpenRegistry(path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantKnown(t *testing.T, r Registry, id, want string) {
	t.Helper()
	if got, ok := r.Known(id); got != want || ok != (want != "") {
		t.Errorf("node %q is known as %q, %v; want %q", id, got, ok, want)
	}
}

func TestRegistrySurvivesReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "PEERS")
	r := openRegistry(t, path)
	for id, inc := range map[string]string{"n1": "a", "n2": "b"} {
		if err := r.Remember(id, inc); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Remember("n1", "a"); err != nil {
		t.Errorf("remembering the same again: %v", err)
	}
	if err := r.Remember("n1", "x"); !errors.Is(err, ErrChanged) {
		t.Errorf("remembering another incarnation: %v, want ErrChanged", err)
	}
	// What a crash between writing and renaming leaves behind.
	if err := os.WriteFile(path+".tmp", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	r = openRegistry(t, path)
	wantKnown(t, r, "n1", "a")
	wantKnown(t, r, "n2", "b")
	wantKnown(t, r, "n3", "")
	if err := errors.Join(r.Forget("n1"), r.Forget("n3")); err != nil {
		t.Fatal(err)
	}
	r = openRegistry(t, path)
	wantKnown(t, r, "n1", "")
	wantKnown(t, r, "n2", "b")
	if err := r.Remember("n1", "x"); err != nil {
		t.Errorf("remembering a forgotten node anew: %v", err)
	}
}

func TestRegistryRefusesDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "PEERS")
	if err := openRegistry(t, path).Remember("n2", "0b1c"); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"empty":        {nil, tidemark.ErrCorrupt},
		"cut":          {good[:len(good)/2], tidemark.ErrCorrupt},
		"flipped":      {bytes.Replace(good, []byte("0b1c"), []byte("0b1d"), 1), tidemark.ErrCorrupt},
		"no peers":     {[]byte(`{"format":1}`), tidemark.ErrCorrupt},
		"newer format": {bytes.Replace(good, []byte(`"format": 1`), []byte(`"format": 2`), 1), tidemark.ErrNewerFormat},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenRegistry(path); !errors.Is(err, c.want) {
				t.Errorf("error is %v, want %v", err, c.want)
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, c.data) {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
}

func TestRegistryFirstContactHasOneWinner(t *testing.T) {
	r := openRegistry(t, filepath.Join(t.TempDir(), "PEERS"))
	var wins atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if r.Remember("n2", fmt.Sprint(i)) == nil {
				wins.Add(1)
			}
		})
	}
	wg.Wait()
	if wins.Load() != 1 {
		t.Errorf("%d incarnations were accepted for one node", wins.Load())
	}
}

func TestRegistryIsBounded(t *testing.T) {
	r := openRegistry(t, filepath.Join(t.TempDir(), "PEERS"))
	for i := range maxRegistryPeers {
		if err := r.Remember(fmt.Sprint(i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Remember("one too many", "x"); err == nil {
		t.Error("the registry took more nodes than its limit")
	}
	if err := r.Remember("0", "x"); err != nil {
		t.Errorf("a known node in a full registry: %v", err)
	}
}

func TestRegistryPromisesNothingAfterAFailedWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "PEERS")
	r := openRegistry(t, path) // its directory does not exist, so no write succeeds
	if err := r.Remember("n2", "a"); err == nil {
		t.Fatal("a write into a missing directory succeeded")
	}
	wantKnown(t, r, "n2", "")
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.Remember("n2", "a"); err == nil {
		t.Error("the registry went on after a failed write")
	}
}
