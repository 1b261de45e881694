package logstore

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	tidemark "tidemark"
)

// setVote writes a vote as hashicorp/raft does.
func setVote(t testing.TB, s *Store, term uint64, candidate string) {
	t.Helper()
	if err := s.Stable().SetUint64([]byte(keyVoteTerm), term); err != nil {
		t.Fatal(err)
	}
	if err := s.Stable().Set([]byte(keyVoteCand), []byte(candidate)); err != nil {
		t.Fatal(err)
	}
}

func mustHaveVote(t testing.TB, s *Store, term uint64, candidate string) {
	t.Helper()
	gotTerm, err1 := s.Stable().GetUint64([]byte(keyVoteTerm))
	got, err2 := s.Stable().Get([]byte(keyVoteCand))
	if gotTerm != term || string(got) != candidate || err1 != nil || err2 != nil {
		t.Fatalf("vote is %d, %q (%v, %v), want %d, %q", gotTerm, got, err1, err2, term, candidate)
	}
}

func TestStableValuesSurviveARestart(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		s := mustOpen(t, o)
		// hashicorp/raft knows a missing value by this text.
		for _, key := range []string{"CurrentTerm", keyVoteTerm, keyVoteCand, "other"} {
			if _, err := s.Stable().GetUint64([]byte(key)); err == nil || err.Error() != "not found" {
				t.Errorf("GetUint64(%s) of an empty store: %v", key, err)
			}
			if _, err := s.Stable().Get([]byte(key)); err == nil || err.Error() != "not found" {
				t.Errorf("Get(%s) of an empty store: %v", key, err)
			}
		}
		for i := uint64(1); i < 20; i++ {
			if err := s.Stable().SetUint64([]byte("CurrentTerm"), i); err != nil {
				t.Fatal(err)
			}
			setVote(t, s, i, "candidate")
			if err := s.Stable().Set([]byte("other"), []byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
			if i%5 != 0 {
				continue
			}
			s = reopen(t, s)
			mustHaveVote(t, s, i, "candidate")
			if n, err := s.Stable().GetUint64([]byte("CurrentTerm")); n != i || err != nil {
				t.Errorf("CurrentTerm = %d, %v", n, err)
			}
			if b, err := s.Stable().Get([]byte("other")); len(b) != 1 || b[0] != byte(i) || err != nil {
				t.Errorf("other = %v, %v", b, err)
			}
		}
	})
}

// A crash between the two writes of a vote leaves the vote before it.
func TestVoteIsOneWrite(t *testing.T) {
	o := testOptions(t, WAL)
	s := mustOpen(t, o)
	setVote(t, s, 3, "n1")
	if err := s.Stable().SetUint64([]byte(keyVoteTerm), 5); err != nil {
		t.Fatal(err)
	}
	mustHaveVote(t, s, 3, "n1")
	o.Dir = copyDir(t, o.Dir)
	crashed := mustOpen(t, o)
	mustHaveVote(t, crashed, 3, "n1")
	if granted := askForVote(t, crashed.Stable(), "n1", 5); granted {
		t.Error("a candidate with an empty log got a vote that was never decided")
	}
}

func TestBareStableStoreGrantsAVoteThatWasNeverDecided(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stable.db")
	db, err := openBoltStore(path)
	if err != nil {
		t.Fatal(err)
	}
	// A vote for n1 in term 3; then one for n2 in term 5, cut in the middle.
	err = errors.Join(db.SetUint64([]byte(keyVoteTerm), 3), db.Set([]byte(keyVoteCand), []byte("n1")),
		db.SetUint64([]byte(keyVoteTerm), 5), db.Close())
	if err != nil {
		t.Fatal(err)
	}
	if db, err = openBoltStore(path); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if granted := askForVote(t, db, "n1", 5); !granted {
		t.Error("the node refused; it used to take the half-written vote for its own")
	}
}

// askForVote starts a Raft node with ten entries in its log on the stable store,
// and lets a candidate without any ask for its vote. It must be refused.
func askForVote(t testing.TB, stable raft.StableStore, candidate raft.ServerAddress, term uint64) bool {
	t.Helper()
	logs := raft.NewInmemStore()
	servers := []raft.Server{}
	for _, id := range []string{"n1", "n2", "self"} {
		servers = append(servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
	}
	first := testEntry(1, 1, 0)
	first.Type, first.Data = raft.LogConfiguration, raft.EncodeConfiguration(raft.Configuration{Servers: servers})
	err := logs.StoreLog(first)
	for i := uint64(2); i <= 10; i++ {
		l := testEntry(i, 1, 10)
		l.Type = raft.LogCommand
		err = errors.Join(err, logs.StoreLog(l))
	}
	if err != nil {
		t.Fatal(err)
	}
	_, trans := raft.NewInmemTransport("self")
	_, peer := raft.NewInmemTransport(candidate)
	peer.Connect("self", trans)
	conf := raft.DefaultConfig()
	conf.LocalID, conf.LogOutput = "self", io.Discard
	conf.HeartbeatTimeout, conf.ElectionTimeout = time.Minute, time.Minute
	conf.NoLegacyTelemetry = true
	r, err := raft.NewRaft(conf, nil, logs, stable, raft.NewInmemSnapshotStore(), trans)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Shutdown().Error(); err != nil {
			t.Error(err)
		}
	}()
	req := raft.RequestVoteRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(candidate), Addr: []byte(candidate)},
		Term:      term,
	}
	var resp raft.RequestVoteResponse
	if err := peer.RequestVote("self", "self", &req, &resp); err != nil {
		t.Fatal(err)
	}
	return resp.Granted
}

func TestCandidateWithoutTermIsFatal(t *testing.T) {
	o := testOptions(t, WAL)
	f := newFatals()
	o.Fatal = f.hook
	s := mustOpen(t, o)
	if err := s.Stable().Set([]byte(keyVoteCand), []byte("n1")); err == nil || len(f.all()) != 1 {
		t.Errorf("%v, fatal %v", err, f.all())
	}
}

// Going back to an older stable store, as a damaged meta page makes bbolt do,
// would forget a vote.
func TestOlderStableStoreIsRefused(t *testing.T) {
	o := testOptions(t, WAL)
	s := mustOpen(t, o)
	setVote(t, s, 1, "n1")
	s.Close()
	path := filepath.Join(o.Dir, stableName)
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, o)
	setVote(t, s, 2, "n2")
	s.Close()
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); !errors.Is(err, tidemark.ErrCorrupt) {
		t.Fatalf("Open: %v", err)
	}
}

// Losing one value, or having an older one, is noticed by what the newest write
// says of the others.
func TestMissingOrOldStableValueIsRefused(t *testing.T) {
	o := testOptions(t, WAL)
	s := mustOpen(t, o)
	setTerm := func(n uint64) stableValue {
		if err := s.Stable().SetUint64([]byte("CurrentTerm"), n); err != nil {
			t.Fatal(err)
		}
		return s.stable.values["CurrentTerm"]
	}
	old, now := setTerm(6), setTerm(7)
	setVote(t, s, 7, "n1")
	vote := s.stable.values[keyVote]
	s.Close()
	path := filepath.Join(o.Dir, stableName)
	rewrite := func(values map[string]stableValue) error {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		db, err := raftboltdb.New(raftboltdb.Options{Path: path})
		for key, v := range values {
			b, _ := v.encode(key)
			err = errors.Join(err, db.Set([]byte(key), b))
		}
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		s, err := Open(o)
		if err == nil {
			s.Close()
		}
		return err
	}
	for name, values := range map[string]map[string]stableValue{
		"missing": {keyVote: vote},
		"old":     {keyVote: vote, "CurrentTerm": old},
		"no vote": {"CurrentTerm": now},
	} {
		if err := rewrite(values); !errors.Is(err, tidemark.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := rewrite(map[string]stableValue{keyVote: vote, "CurrentTerm": now}); err != nil {
		t.Errorf("the values as they were: %v", err)
	}
}
