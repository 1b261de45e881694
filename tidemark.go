// Package tidemark names things. It holds the words that every floor of the
// database shares: identifiers, messages, heads, cursors, positions, limits and
// errors, with the rules that make each of them valid, and the digest chain
// that lets replicas and clients prove that they hold the same history.
//
// A Timeline is an append-only queue of messages. Each message gets the next
// dense SeqID when its command is applied, in the order of the Raft log, so on
// every replica the n-th message of a timeline is the same message.
//
// It imports nothing but the standard library, and it must stay that way: every
// other package of the module stands on it.
package tidemark
