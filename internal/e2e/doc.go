// Package e2e tests whole clusters: real processes of the binary on real disks and
// loopback, that are killed, damaged and run out of room. It speaks to nodes only as
// their users do: through the SDK, the command line, signals, and the HTTP port. It
// imports no server package.
//
// By default it takes a few minutes. The environment asks for more:
//
//	TIDEMARK_CHAT=FILE   TestChat imports this file instead of the sample in testdata
//	TIDEMARK_LONG=1      TestSnapshotStream and TestRestart run, and print figures
//	TIDEMARK_KEEP=DIR    data and logs of the nodes are kept below DIR
package e2e
