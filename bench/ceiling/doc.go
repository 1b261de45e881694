// Package ceiling runs the bare library behind Tidemark's SDK: three nodes of
// hashicorp/raft with Tidemark's log store and a state machine that does nothing (package
// node). What Tidemark does less is the price of all that it does beside replicating.
package ceiling
