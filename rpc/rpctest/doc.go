// Package rpctest runs clusters of real nodes in one process, for tests: Raft over
// loopback, stores on the disk, the API on loopback ports. A node can be stopped,
// crashed, cut off from the others and started again. When the test ends every
// store is checked as a whole.
//
// Only tests may import it.
package rpctest
