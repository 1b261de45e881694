package fsm

import (
	"crypto/sha256"
	"encoding/binary"

	"tidemark"
)

// changesLevel is the feature level that has the change feed: it has all entries from the
// one on that raised the level so far.
const changesLevel = 7

// TrimChanges takes away what the change feed has of log entries before First. The leader
// proposes it by the feed's own retention. What is gone already is no error. It needs Level
// 8. Its result is a TrimChangesResult.
type TrimChanges struct {
	// First is at least 1, and at most the index of the entry that holds the command.
	First uint64
}

// TrimChangesResult is the outcome of a TrimChanges.
type TrimChangesResult struct {
	// First is the index of the first log entry that is retained.
	First uint64
	// Err is nil, or wraps tidemark.ErrInvalid or ErrUpgradeIncomplete. Nothing was changed then.
	Err error
}

// trimChanges applies one TrimChanges.
func (t *transition) trimChanges(c *TrimChanges) (TrimChangesResult, error) {
	_, first, found, err := t.batch.Feed()
	switch {
	case err != nil:
		return TrimChangesResult{}, err
	case !found:
		return TrimChangesResult{Err: tidemark.ErrUpgradeIncomplete}, nil
	case c.First == 0 || c.First > t.index:
		return TrimChangesResult{Err: tidemark.Invalid("first_index", "is %d; limit is 1 to %d, the index of this entry", c.First, t.index)}, nil
	case c.First <= first:
		return TrimChangesResult{First: first}, nil
	}
	return TrimChangesResult{First: c.First}, t.batch.TrimChanges(c.First)
}

// feedID names the history that the feed is of: the same on all replicas, and another one
// in another cluster, as far as no two begin in the same nanosecond with the same members.
func (t *transition) feedID() uint64 {
	return hashID("feed", t.index, uint64(t.time), t.members)
}

// recoveredFeedID is that of a feed whose history may have lost its end: see SetMembership.
func recoveredFeedID(before uint64, applied *tidemark.Applied) uint64 {
	return hashID("recovered", before, applied.Index, applied.Membership)
}

func hashID(what string, a, b uint64, members []byte) uint64 {
	data := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte(what), a), b)
	hash := sha256.Sum256(append(data, members...))
	return binary.BigEndian.Uint64(hash[:])
}
