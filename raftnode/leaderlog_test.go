package raftnode

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

// unsyncedLogs are Logs of which nothing is synced, or will be.
type unsyncedLogs struct {
	Logs
	unsynced int
}

var errNeverSynced = errors.New("it is never synced")

func (l *unsyncedLogs) AwaitSynced(uint64) error { return errNeverSynced }

func (l *unsyncedLogs) StoreUnsynced([]*raft.Log) error {
	l.unsynced++
	return nil
}

// A follower has no entry, to be asked about, that is not on its disk; a leader sends it. Only
// a leader stores unsynced, and only commands.
func TestLeaderLog(t *testing.T) {
	below := raft.NewInmemStore()
	command, noop := &raft.Log{Index: 1, Type: raft.LogCommand}, &raft.Log{Index: 2, Type: raft.LogNoop}
	if err := below.StoreLogs([]*raft.Log{command}); err != nil {
		t.Fatal(err)
	}
	leads := false
	logs := &unsyncedLogs{}
	log := leaderLog{below, logs, func() bool { return leads }}
	var got raft.Log
	if err := log.GetLog(1, &got); !errors.Is(err, errNeverSynced) {
		t.Errorf("a follower has it: %v", err)
	}
	if err := log.StoreLogs([]*raft.Log{command}); err != nil || logs.unsynced != 0 {
		t.Errorf("a follower stored %d unsynced: %v", logs.unsynced, err)
	}
	leads = true
	if err := log.GetLog(1, &got); err != nil {
		t.Errorf("a leader does not send it: %v", err)
	}
	if err := log.StoreLogs([]*raft.Log{command, noop}); err != nil || logs.unsynced != 0 {
		t.Errorf("%d times unsynced with what is no command: %v", logs.unsynced, err)
	}
	if err := log.StoreLogs([]*raft.Log{command}); err != nil || logs.unsynced != 1 {
		t.Errorf("a leader stored %d unsynced: %v", logs.unsynced, err)
	}
}
