// Package localcluster runs clusters of real tidemark processes on loopback: for
// `tidemark dev`, the demo, and tests that kill them. It knows a node by its
// command line, its signals and its HTTP port, and imports no server package.
//
// No process outlives the one that started it, however that one ends: on Linux
// the kernel kills the children of a starter that is gone.
package localcluster
