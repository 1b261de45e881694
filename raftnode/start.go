package raftnode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"github.com/hashicorp/raft"

	"tidemark"
)

// startLog is what checkStart asks of the log.
type startLog interface {
	FirstIndex() uint64
	LastIndex() uint64
	Term(index uint64) (term uint64, ok bool, err error)
	SnapshotInstalled(index, term uint64) (conflict bool, err error)
}

// checkStart refuses a log and a state machine that do not fit together. Raft
// itself believes the state machine's record unseen, and would go on with a hole.
//
// The log is synced before an entry is applied, so it reaches at least as far as
// the state machine, with one exception: the state was received as a snapshot and
// the process ended before the log was made to fit. The record says so, and the
// log is then made to fit here.
func checkStart(log startLog, machine StateMachine) error {
	a := machine.Applied()
	first, last := log.FirstIndex(), log.LastIndex()
	if a.Index == 0 {
		if first > 1 {
			return fmt.Errorf("%w: the state machine is empty, but the log begins at entry %d: %s", tidemark.ErrCorrupt, first, rebuild)
		}
		return nil
	}
	if _, err := decodeMembership(a.Membership); err != nil {
		return err
	}
	if a.Index == a.InstalledIndex {
		if _, err := log.SnapshotInstalled(a.Index, a.Term); err != nil {
			return fmt.Errorf("make the log fit the snapshot at %d that was installed: %w", a.Index, err)
		}
		return nil
	}
	if a.Index > last {
		return fmt.Errorf("%w: the state machine has applied entry %d, but the log ends at %d and no snapshot explains it: %s",
			tidemark.ErrCorrupt, a.Index, last, rebuild)
	}
	if first > a.Index+1 {
		return fmt.Errorf("%w: the state machine has applied entry %d, but the log begins at %d: %s", tidemark.ErrCorrupt, a.Index, first, rebuild)
	}
	term, ok, err := log.Term(a.Index)
	if err != nil {
		return fmt.Errorf("read the log entry %d, the last that is applied: %w", a.Index, err)
	}
	if ok && term != a.Term {
		return fmt.Errorf("%w: the state machine has applied entry %d of term %d, but the log has it of term %d: %s",
			tidemark.ErrCorrupt, a.Index, a.Term, term, rebuild)
	}
	return nil
}

const rebuild = "remove this node from the cluster, empty its data directory, and let it join again"

// hasTakenPart says whether this directory was ever in use, so that a log that is
// not there was lost.
func hasTakenPart(machine StateMachine, dir *Directory) (bool, error) {
	if machine.Applied().Index > 0 {
		return true, nil
	}
	return dir.registered()
}

// registered says whether a node ever ran with this directory long enough to meet
// its peers.
func (d *Directory) registered() (bool, error) {
	_, err := os.Stat(filepath.Join(d.path, registryFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// The first members are the entry at this index and term, as in raft's own bootstrap.
const bootstrapIndex, bootstrapTerm = 1, 1

// The keys under which Raft keeps its term and its vote.
var keyCurrentTerm, keyLastVoteTerm = []byte("CurrentTerm"), []byte("LastVoteTerm")

// bootstrap writes the first configuration into a log that is empty, on a node
// that has never voted. Every first member writes the same entry, so they may
// start in any order and any number of times. (Raft's BootstrapCluster refuses to
// go on after a crash between its two writes.)
func bootstrap(cfg *Config, logs Logs) error {
	if len(cfg.InitialCluster) == 0 || logs.LastIndex() > 0 || cfg.Machine.Applied().Index > 0 {
		return nil
	}
	term, err := stableUint64(logs.Stable(), keyCurrentTerm)
	if err != nil {
		return err
	}
	voted, err := stableUint64(logs.Stable(), keyLastVoteTerm)
	if err != nil {
		return err
	}
	if term > bootstrapTerm || voted > 0 {
		return nil
	}
	var c raft.Configuration
	for id, address := range cfg.InitialCluster {
		if id == "" || address == "" {
			return tidemark.Invalid("initial-cluster", "has an empty node id or address")
		}
		c.Servers = append(c.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(address)})
	}
	sort.Slice(c.Servers, func(i, j int) bool { return c.Servers[i].ID < c.Servers[j].ID })
	if err := logs.Stable().SetUint64(keyCurrentTerm, bootstrapTerm); err != nil {
		return fmt.Errorf("bootstrap: write the term: %w", err)
	}
	entry := &raft.Log{Index: bootstrapIndex, Term: bootstrapTerm, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)}
	if err := logs.Log().StoreLog(entry); err != nil {
		return fmt.Errorf("bootstrap: write the first members: %w", err)
	}
	cfg.Logger.Info("formed a cluster", "members", len(c.Servers))
	return nil
}

// stableUint64 reads a number that may not be there; Raft tells that by the text.
func stableUint64(s raft.StableStore, key []byte) (uint64, error) {
	v, err := s.GetUint64(key)
	if err != nil && err.Error() != "not found" {
		return 0, fmt.Errorf("read %s: %w", key, err)
	}
	return v, nil
}

// fitLog makes the log fit a snapshot that was just installed.
func (n *Node) fitLog(index, term uint64) error {
	conflict, err := n.logs.SnapshotInstalled(index, term)
	if err != nil {
		return fmt.Errorf("make the log fit the snapshot at %d: %w", index, err)
	}
	if conflict {
		return fmt.Errorf("%w: the log held other entries than the cluster's behind the snapshot at %d, and was emptied", ErrRestart, index)
	}
	return nil
}

// ErrRestart is what Config.Fatal gets when nothing is wrong with the node's data,
// but Raft remembers something that is no longer there: the process is to be
// started again (hashicorp/raft #697).
var ErrRestart = errors.New("the node must be started again")
