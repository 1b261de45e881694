package tidemark

// StatePart is a run of the records that a replica holds at one place of the log, by which
// replicas are compared: equal digests from the same start are equal records.
type StatePart struct {
	// Records and Bytes (of keys and values) are how many there are.
	Records, Bytes uint64
	// Digest is the SHA-256 over each record's sizes of key and value (u32, big-endian), key
	// and value.
	Digest [32]byte
	// Last is the key of the last record, and LastIs says in words what that record is.
	Last   []byte
	LastIs string
	// More says that records follow.
	More bool
}
