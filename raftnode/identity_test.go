package raftnode

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tidemark"
	"tidemark/raftnode/logstore"
)

func TestClaimRemembersWhoseDirectoryItIs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := Claim(dir, "n1", logstore.WAL)
	if err != nil {
		t.Fatal(err)
	}
	if !first.fresh || first.id.Incarnation == "" {
		t.Fatalf("made %+v", first.id)
	}
	if _, err := Claim(dir, "n1", logstore.WAL); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("a second process got the directory: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Claim(dir, "n1", logstore.WAL)
	if err != nil {
		t.Fatal(err)
	}
	if again.fresh || again.id != first.id {
		t.Fatalf("read %+v, wrote %+v", again.id, first.id)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestClaimRefusesAndTouchesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"another node":  {text: `{"format":1,"node_id":"n2","incarnation":"i","log_store":"wal"}`, want: tidemark.ErrForeignData},
		"another store": {text: `{"format":1,"node_id":"n1","incarnation":"i","log_store":"boltdb"}`, want: logstore.ErrOtherKind},
		"newer":         {text: `{"format":2,"what":"ever"}`, want: tidemark.ErrNewerFormat},
		"damaged":       {text: `{"format":1,"nod`, want: tidemark.ErrCorrupt},
		"incomplete":    {text: `{"format":1,"node_id":"n1","log_store":"wal"}`, want: tidemark.ErrCorrupt},
		"empty":         {text: ``, want: tidemark.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, identityFile)
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Claim(dir, "n1", logstore.WAL); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != c.text {
				t.Fatalf("the file is now %q, %v", got, err)
			}
			if _, err := Claim(dir, "n1", logstore.WAL); strings.Contains(err.Error(), "in use") {
				t.Fatal("the lock is still held")
			}
		})
	}
}

// No flipped bit makes a directory another node's, or one of another incarnation.
func TestClaimRefusesADamagedOwner(t *testing.T) {
	dir := t.TempDir()
	whole, err := Claim(dir, "n1", logstore.WAL)
	if err != nil {
		t.Fatal(err)
	}
	if err := whole.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, identityFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(text) {
		damaged := slices.Clone(text)
		damaged[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		id, err := readIdentity(path)
		id.Checksum = whole.id.Checksum // its key may be the one that is damaged
		refused := errors.Is(err, tidemark.ErrCorrupt) || errors.Is(err, tidemark.ErrNewerFormat)
		if refused && !strings.Contains(err.Error(), path) || !refused && (err != nil || id != whole.id) {
			t.Errorf("with bit %d flipped it is read as %+v, %v", bit, id, err)
		}
	}
}

func TestClaimReadsAnOwnerWithoutAChecksum(t *testing.T) {
	dir := t.TempDir()
	text := `{"format": 1, "node_id": "n1", "incarnation": "i", "log_store": "wal"}`
	if err := os.WriteFile(filepath.Join(dir, identityFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Claim(dir, "n1", logstore.WAL)
	if err != nil || d.id.Incarnation != "i" {
		t.Fatalf("got %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestClaimRefusesDataWithoutAnOwner(t *testing.T) {
	for _, name := range []string{"raft", "store"} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := Claim(dir, "n1", logstore.WAL); !errors.Is(err, tidemark.ErrCorrupt) {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, identityFile)); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s: an owner was written: %v", name, err)
		}
	}
}

func TestClaimNeedsANameAndAKind(t *testing.T) {
	if _, err := Claim(t.TempDir(), "", logstore.WAL); !errors.Is(err, tidemark.ErrInvalid) {
		t.Error(err)
	}
	if _, err := Claim(t.TempDir(), "n1", "paper"); !errors.Is(err, tidemark.ErrInvalid) {
		t.Error(err)
	}
}

func TestOpenRefusesAnotherNodesDirectory(t *testing.T) {
	c := newCluster(t, logstore.WAL, 1, nil)
	c.propose("a")
	c.stop("n1")
	node := c.nodes["n1"]
	cfg := c.config(node)
	cfg.NodeID, cfg.RaftListen = "n9", "127.0.0.1:0"
	if _, err := Open(cfg); !errors.Is(err, tidemark.ErrForeignData) {
		t.Fatal(err)
	}
	cfg = c.config(node)
	cfg.LogStore, cfg.RaftListen = logstore.BoltDB, "127.0.0.1:0"
	if _, err := Open(cfg); !errors.Is(err, logstore.ErrOtherKind) {
		t.Fatal(err)
	}
	c.restart("n1")
	c.propose("b")
	c.agree()
}

func TestOpenSaysThatThePortIsTaken(t *testing.T) {
	c := newCluster(t, logstore.WAL, 1, nil)
	other := c.add("n2", c.nodes["n1"].address)
	cfg := c.config(other)
	cfg.RaftListen = c.nodes["n1"].address
	if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), cfg.RaftListen) {
		t.Fatal(err)
	}
	delete(c.nodes, "n2")
	// Everything was given back.
	dir, err := Claim(other.dir, "n2", logstore.WAL)
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	good := DefaultConfig()
	good.NodeID, good.DataDir, good.RaftListen = "n1", "d", "127.0.0.1:1"
	good.Machine, good.EncodeEntry, good.Noop = newFakeMachine(), encodeFake, fakeNoop
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(*Config){
		"node-id":               func(c *Config) { c.NodeID = "" },
		"data-dir":              func(c *Config) { c.DataDir = "" },
		"raft-listen":           func(c *Config) { c.RaftListen = "" },
		"max-in-flight-entries": func(c *Config) { c.MaxInFlightEntries = 5 },
		"max-queued-bytes":      func(c *Config) { c.MaxQueuedBytes = 1 },
		"max-queued-commands":   func(c *Config) { c.MaxQueuedCommands = 0 },
		"heartbeat-timeout":     func(c *Config) { c.HeartbeatTimeout = c.ElectionTimeout + 1 },
		"snapshot-interval":     func(c *Config) { c.SnapshotInterval = 0 },
		"initial-cluster":       func(c *Config) { c.InitialCluster = map[string]string{"n2": "x:1"} },
		"advertises":            func(c *Config) { c.InitialCluster = map[string]string{"n1": "x:1"} },
	} {
		c := good
		change(&c)
		if err := c.check(); !errors.Is(err, tidemark.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
