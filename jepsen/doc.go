// Package jepsen is the project's evidence: it forms clusters of real processes,
// drives load through the SDK, injures them, heals them, reads everything back
// from every node, and judges the whole history. The folders below it are, in the
// order in which a run uses them:
//
//	host, disk   where nodes live, and what can be done to their links and disks
//	workload     what clients do
//	nemesis      what goes wrong, and when
//	history      what every client was told, one record for each operation
//	checker      what must hold in a history
//	failover     how long nothing could be appended when the leader was lost
//	report       what a person sees of it
//	run          one run from forming to judging
//	hunt         runs of servers with a bug on purpose, which must fail
//	sim          the same workloads and checkers in virtual time
//
// # Imports
//
// It sees the database as a frontend does. It must never import fsm, pebblestore,
// raftnode or rpc, because a judge that shares code with the accused shares its
// errors; the generated API, the root package's words and the SDK are what a
// client has. The one exception is sim, which runs the server's floors in one process.
package jepsen
