// Package peer carries everything that goes between the nodes of one cluster,
// over one TCP port per node: the streams of hashicorp/raft, and a small gRPC
// service for what Raft's messages do not say (terms, read indexes, info).
//
// It promises that each connection is between the two nodes that its ends think
// it is: a node with the same id but another data directory is refused on both
// sides, and so are strangers. It promises that nothing that arrives on the port
// can panic the process or make it use memory without bound. It never passes a
// heartbeat around Raft's main loop.
//
// It must not import fsm, pebblestore, rpc or the log stores, and it knows
// nothing of raftnode, which stands above it.
//
// # The preface
//
// The dialer speaks first, before anything else and inside TLS if there is any.
// Numbers are big-endian. A string is one length byte and that many bytes.
//
//	hello, from the dialer
//	offset  size  what
//	0       4     magic "TMRP"
//	4       1     version of the preface, 1
//	5       1     kind: 1 Raft stream, 2 peer gRPC
//	6       2     length of what follows, at most 1024
//	8       1+n   id of the dialer, 1 to 128 bytes
//	        1+n   incarnation of the dialer, 1 to 64 bytes
//	        1+n   id of the node that it means to reach, 1 to 128 bytes
//	        1+n   incarnation that it expects there; empty on first contact
//
//	answer, from the acceptor
//	offset  size  what
//	0       4     magic "TMRP"
//	4       1     version of the preface that the acceptor speaks, 1
//	5       1     0 accepted, else why not (a Reason)
//	6       2     length of what follows, at most 1024
//	8       1+n   id of the acceptor
//	        1+n   incarnation of the acceptor; empty in a refusal
//	        1+n   in a refusal the reason in words, else empty
//
// Bytes of the body after its last field belong to later versions and are
// skipped. Behind an accepted answer the connection carries Raft's messages or
// HTTP/2.
package peer
