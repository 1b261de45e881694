package raftnode

import "github.com/hashicorp/raft"

// leaderLog is a log whose leader writes its own copy of an entry while the followers write
// theirs, as in section 10.2.1 of Ongaro's thesis, "Writing to the leader's disk in parallel". An
// entry so waits for one disk after the other no more.
//
// Raft itself lets a leader count for the majority when StoreLogs has returned, which here is before
// its disk is done. So between the two, what Raft takes for committed may be on one disk too
// few. While this process lives that is as good as stored: its memory has the entry, and refuses what
// conflicts. What would not be undone by its death waits for the disk:
//
//   - it applies nothing (fsmAdapter.awaitSynced), so that nothing is acknowledged or read;
//   - it tells no follower that the entry is committed (peer.TransportConfig.Committed), so that none
//     applies it;
//   - as a follower, it does not tell the next leader that it has the entry already (GetLog);
//   - nothing is written behind the entry: whatever else changes the log waits in logstore.
//
// Only commands are stored so: the entries by which a leader begins and members change are few.
type leaderLog struct {
	raft.LogStore
	logs  Logs
	leads func() bool
}

// StoreLogs implements raft.LogStore. Raft calls it from the goroutine that changes its state, so
// that one which leads is about to replicate the entries.
func (l leaderLog) StoreLogs(entries []*raft.Log) error {
	for _, e := range entries {
		if e.Type != raft.LogCommand {
			return l.LogStore.StoreLogs(entries)
		}
	}
	if l.leads() {
		return l.logs.StoreUnsynced(entries)
	}
	return l.LogStore.StoreLogs(entries)
}

// GetLog implements raft.LogStore. A follower looks at an entry that it is sent, and answers that it
// has it if it does.
func (l leaderLog) GetLog(index uint64, out *raft.Log) error {
	if !l.leads() {
		if err := l.logs.AwaitSynced(index); err != nil {
			return err
		}
	}
	return l.LogStore.GetLog(index, out)
}
