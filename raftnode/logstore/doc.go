// Package logstore keeps a Raft node's log, terms and votes on its disk.
//
// It puts one wrapper around two libraries, raft-wal and raft-boltdb, behind one
// option, and keeps terms and votes in raft-boltdb. It promises what
// hashicorp/raft takes for granted and neither library gives:
//
//   - An entry is returned as it was stored, or not at all. A log that lost
//     synced entries, at either end or in the middle, is refused when it is
//     opened; the file is named and left as it is.
//   - The first error, panic or hanging call of a store ends the process.
//   - A vote is written as one value.
//   - The front of the log is never deleted past what the state machine has
//     made durable, and entries beyond an installed snapshot are kept.
//
// The directory:
//
//	log.mark    what the log must hold at least (mark.go)
//	log.wal/    segments and their metadata, or
//	log.boltdb  one B+tree
//	stable.db   current term and vote
//
// It knows nothing of the cluster or of what entries mean, and must not import
// raftnode or anything above it. DESIGN.md says why it is built this way.
package logstore
