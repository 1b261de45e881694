// Package fsm is the deterministic state machine of Tidemark: committed log
// entries in, results and stored timelines out. Every replica that applies the
// same log holds the same bytes.
//
// It is responsible for what a command means: dense SeqIDs, server times that
// never run backwards within a timeline, the digest chain, exactly-once appends
// by message id, expected last SeqIDs, atomic batches and cursors that only move
// forward. It writes a run of entries as one store batch that holds the applied
// index, so after any crash the store is an exact prefix of the log.
//
// It promises to be deterministic: apply reads nothing but the entry and the
// store. It uses no clock, no randomness, no floating point, no order of a map and
// no limit that a user can configure. An entry that it cannot apply in full ends
// the process by Options.Fatal; it never skips one, and never applies half.
//
// It must never import raftnode, rpc, hashicorp/raft or gRPC. *Machine satisfies
// raftnode.StateMachine by its methods alone.
//
// # Entries
//
// The data of a log entry is a protobuf message, tidemark.fsm.v1.Entry, defined in
// fsmpb/command.proto. Its layout on the wire:
//
//	08 <varint>          version, always first
//	11 <8 bytes, LE>     leader's clock, nanoseconds since 1970, signed
//	1a <varint> <bytes>  command, once for each, in order
//
// A command is one field, whose number is its kind, around its body:
//
//	0a <varint> <Append>        12 <varint> <AppendBatch>
//	1a <varint> <Ack>           22 00 (Noop)
//
// Fields stand in the order of their numbers, and those that are not repeated
// stand once. The decoder refuses anything else.
package fsm
