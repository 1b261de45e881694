package raftnode

import "github.com/hashicorp/raft"

// retainingLog is the log that Raft sees. It lets Raft delete from the front only
// what retention does not keep. It hides whether the store below tolerates gaps:
// a log that does not fit an installed snapshot is emptied by
// logstore.SnapshotInstalled, so there never are any, and Raft must not empty a
// log whose tail it has promised to keep.
type retainingLog struct {
	raft.LogStore
	retention *retention
	durable   func() uint64
}

// DeleteRange implements raft.LogStore.
func (l retainingLog) DeleteRange(from, to uint64) error {
	first, err := l.FirstIndex()
	if err != nil {
		return err
	}
	last, err := l.LastIndex()
	if err != nil {
		return err
	}
	if from <= first && to < last {
		if to = min(to, l.retention.deletable(l.durable())); to < first {
			return nil
		}
	}
	return l.LogStore.DeleteRange(from, to)
}
