// Package rpc is the door of a node: the gRPC services of rpc/tidemarkv1, with
// health and reflection.
//
// It refuses bad input before anything is proposed, bounds what is in flight,
// forwards writes from followers to the leader, waits for what a read's level
// asks for, and turns every error into a status that says what was and what was
// not done (errors.go, docs/errors.md).
//
// A Tail is served from this node's own state (tail.go, tailsend.go, tails.go, and
// DESIGN.md).
//
// It knows the node and the store by the interfaces that it declares itself
// (Node, Store), and of the state machine only its commands and results. It must
// never import pebblestore, Pebble or hashicorp/raft.
package rpc
