package system

// What all works have in common.
const (
	// Timelines are appended to and read at random.
	Timelines = 1000
	// Backlog is how many messages each timeline has before anything is read.
	Backlog = 200
	// Payload is the size of a message, and Page how many a read asks for.
	Payload = 256
	Page    = 100
)

// Kind is a kind of work.
type Kind string

// The kinds.
const (
	// Append is one message by each call, with a new message id, acknowledged.
	Append Kind = "append"
	// Pipelined is the same over the client's asynchronous interface, many in flight.
	Pipelined Kind = "pipelined"
	// Read is a page from a random place of a random timeline by each call.
	Read Kind = "read"
	// Tail is one subscriber that catches up with the backlog of all timelines.
	Tail Kind = "tail"
)

// NeedsBacklog says that there must be messages before this is done.
func (k Kind) NeedsBacklog() bool { return k == Read || k == Tail }

// Work is something that is measured.
type Work struct {
	// Name is that of --works, and Title what the report calls it.
	Name, Title string
	Kind        Kind
	// Callers each make one call at a time.
	Callers int
}

// Works are all works, in the order in which they are measured.
func Works() []Work {
	return []Work{
		{"append-1", "Append, 1 caller", Append, 1},
		{"append-64", "Append, 64 callers", Append, 64},
		{"append-256", "Append, 256 callers", Append, 256},
		{"pipelined", "Append, 4,096 in flight", Pipelined, 4096},
		{"read", "Read pages of 100, 64 callers", Read, 64},
		{"tail", "Catch up with 200,000 messages", Tail, 1},
	}
}
