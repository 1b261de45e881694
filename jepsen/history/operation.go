package history

import "time"

// Outcome says what the client knows about an operation when it has ended.
type Outcome string

const (
	// OK means that it took effect and the answer is recorded.
	OK Outcome = "ok"
	// Fail means that it definitely changed nothing, now or later.
	Fail Outcome = "fail"
	// Unknown means that it may have taken effect, or may still.
	Unknown Outcome = "unknown"
)

// Kind is what an operation does.
type Kind string

const (
	// KindAppend is an append of one message.
	KindAppend Kind = "append"
	// KindBatch is an append of several messages in one call; Via tells whether it is atomic.
	KindBatch Kind = "batch"
	// KindRead is one page of a timeline. If Acks is not empty it carries an acknowledgement.
	KindRead Kind = "read"
	// KindGet is one message by its SeqID (From) or its id (MessageID).
	KindGet Kind = "get"
	// KindAck moves cursors.
	KindAck Kind = "ack"
	// KindCursors lists cursors, of a timeline or of a reader.
	KindCursors Kind = "cursors"
	// KindHead is the head of a timeline.
	KindHead Kind = "head"
	// KindFanOut is an append that delivers to Inboxes, KindInbox a page of an inbox, and
	// KindFinalInbox one of an inbox or of a timeline that is fanned out, after the run.
	KindFanOut     Kind = "fan-out"
	KindInbox      Kind = "inbox"
	KindFinalInbox Kind = "final-inbox"
	// KindKept is an append to, or a page of, a timeline with a retention policy, and
	// KindFinalKept a page of one after the run.
	KindKept      Kind = "kept"
	KindFinalKept Kind = "final-kept"
	// KindTail is some messages that a subscription got; its Process gets those of one
	// timeline only, and From is the last SeqID that it had before.
	KindTail Kind = "tail"
	// KindTailEnd is the end of a subscription after the load: it had got everything up to
	// From, and HeadLast is what a linearizable read had shown before it was ended.
	KindTailEnd Kind = "tail-end"
	// KindChanges is some messages of one timeline that a reader of the change feed got, and
	// KindChangesEnd the end of its reading: both are as those of a tail. Places has where
	// in the feed each message stands. If the feed began later than the timeline, Start of
	// the first is FromSeq.
	KindChanges    Kind = "changes"
	KindChangesEnd Kind = "changes-end"
	// KindRevised is an append to a timeline whose messages are revised (Items), a revision
	// (Revise), a page (Messages) or a listing of cursors (Cursors) of one; KindRevisedTail and
	// KindRevisedTailEnd are a tail of one, and KindFinalRevised is a page of one, or of an
	// inbox that it is fanned out to, after the run.
	KindRevised        Kind = "revised"
	KindRevisedTail    Kind = "revised-tail"
	KindRevisedTailEnd Kind = "revised-tail-end"
	KindFinalRevised   Kind = "final-revised"
	// KindFinalRead is one page, or all pages, of a timeline, read from one node after
	// everything was healed and the node had caught up.
	KindFinalRead Kind = "final-read"
	// KindFinalCursors lists the cursors of a timeline under the same conditions.
	KindFinalCursors Kind = "final-cursors"
)

// Final reports whether operations of the kind are made after the run, when everything was
// healed.
func (k Kind) Final() bool {
	switch k {
	case KindFinalRead, KindFinalCursors, KindFinalInbox, KindFinalKept, KindFinalRevised:
		return true
	}
	return false
}

// How an append was sent.
const (
	// ViaUnary is one call, which nothing tries again by itself.
	ViaUnary = "unary"
	// ViaStream is the SDK's stream, which may have sent the append more than once.
	ViaStream = "stream"
	// ViaBatch is a batch whose items stand for themselves.
	ViaBatch = "batch"
	// ViaAtomic is a batch of all or nothing.
	ViaAtomic = "atomic"
)

// Levels of consistency of a read.
const (
	Linearizable = "linearizable"
	// Session shows everything up to SessionAt; if that is 0, everything that the
	// client named Client was told before.
	Session = "session"
	Local   = "local"
)

// Where a page starts and which way it goes.
const (
	// FromSeq starts at From, with it.
	FromSeq = "seq"
	// BeforeSeq starts just before From and goes backward.
	BeforeSeq = "before"
	// Newest starts at the last message and goes backward.
	Newest = "newest"
	// FromTime starts at a server time, which is not recorded.
	FromTime = "time"

	Forward  = "forward"
	Backward = "backward"
)

// Errors that are answers: the timeline, or the message, was not there for the
// reader to see. Checkers treat a read with one of them, whatever its Outcome, as
// one that showed nothing.
const (
	TimelineNotFound = "TIMELINE_NOT_FOUND"
	MessageNotFound  = "MESSAGE_NOT_FOUND"
)

// Reasons for which an append fails that say something about the timeline.
const (
	MessageIDConflict = "MESSAGE_ID_CONFLICT"
	SequenceConflict  = "SEQUENCE_CONFLICT"
)

// NeverEnded is the Completed of an operation without an end.
const NeverEnded = time.Duration(-1)

// Operation is one thing that a client asked for.
type Operation struct {
	// ID is unique in the history, Process the logical client thread. A Recorder sets both.
	ID      int64 `json:"id"`
	Process int64 `json:"process"`
	// Client names the SDK client that was used: operations of one Client share a session.
	Client string `json:"client,omitempty"`
	// Node is the endpoint that was asked, or "" if the client was free to choose.
	Node string `json:"node,omitempty"`
	Kind Kind   `json:"kind"`
	// Via is how an append was sent: ViaUnary, ViaStream, ViaBatch or ViaAtomic.
	Via string `json:"via,omitempty"`
	// Level is that of a read.
	Level string `json:"level,omitempty"`
	// Timeline is the one asked for; "" for batches, which say it in each item, and
	// for listings by reader.
	Timeline string `json:"timeline,omitempty"`
	// Invoked and Completed are times since the run began; a Recorder sets both.
	// Completed is NeverEnded without an end, and never before Invoked otherwise.
	Invoked   time.Duration `json:"invoked_ns"`
	Completed time.Duration `json:"completed_ns"`
	Outcome   Outcome       `json:"outcome"`
	// Error is the reason of docs/errors.md, or a text if there is none.
	Error string `json:"error,omitempty"`

	// Items are the messages of a KindAppend (one) or a KindBatch, in the order sent.
	Items []Item `json:"items,omitempty"`

	// Revise is the revision of a KindRevised.
	Revise *Revise `json:"revise,omitempty"`
	// Keep is how many of the newest messages of the timeline the policy keeps.
	Keep uint64 `json:"keep,omitempty"`
	// Inboxes are those that a KindFanOut delivers to.
	Inboxes []string `json:"inboxes,omitempty"`

	// What a read asked for. From is a SeqID, see Start. Limit is in messages; 0 for the server's default.
	Start     string `json:"start,omitempty"`
	From      uint64 `json:"from,omitempty"`
	Limit     int    `json:"limit,omitempty"`
	Direction string `json:"direction,omitempty"`
	// MessageID is what a KindGet by message id asks for.
	MessageID string `json:"message_id,omitempty"`
	// SessionAt is the position that was passed to a session read.
	SessionAt uint64 `json:"session_at,omitempty"`
	// MaxStaleness is the bound of a local read, or 0 for none.
	MaxStaleness time.Duration `json:"max_staleness_ns,omitempty"`

	// What a read showed. Messages are in rising order of SeqID.
	Messages []Seen `json:"messages,omitempty"`
	More     bool   `json:"more,omitempty"`
	// Places are those of Messages in the change feed.
	Places []Place `json:"places,omitempty"`
	// FirstSeqID and HeadLast are the first retained and the last SeqID of the
	// timeline in the same view, HeadDigest the digest of the last message.
	FirstSeqID uint64 `json:"first_seq_id,omitempty"`
	HeadLast   uint64 `json:"head_last,omitempty"`
	HeadDigest string `json:"head_digest,omitempty"`
	// PreviousDigest is what the page says the chain of Messages starts from.
	PreviousDigest string `json:"previous_digest,omitempty"`
	// BadDigest is the first SeqID of Messages whose digest is not the one that the
	// reader computed from the whole message, or 0; see FirstBadDigest.
	BadDigest    uint64        `json:"bad_digest,omitempty"`
	Position     uint64        `json:"position,omitempty"`
	AppliedIndex uint64        `json:"applied_index,omitempty"`
	Staleness    time.Duration `json:"staleness_ns,omitempty"`

	// Reader is whose cursors are moved or listed.
	Reader string `json:"reader,omitempty"`
	// Acks are the marks that were asked for; 0 leaves a mark as it is.
	Acks []CursorSeen `json:"acks,omitempty"`
	// Rewind says that the marks were to be set to what is asked for, also back.
	Rewind bool `json:"rewind,omitempty"`
	// Cursors are those of the answer, to a KindAck or a listing. A listing is complete
	// unless More: a cursor that it leaves out is at 0.
	Cursors []CursorSeen `json:"cursors,omitempty"`
}

// Item is one message that was sent, and what became of it.
type Item struct {
	Timeline  string `json:"timeline"`
	MessageID string `json:"message_id"`
	// Content stands for all that the sender decided, see ContentOf.
	Content uint64 `json:"content"`
	// Sender is who sent it, as the message says.
	Sender string `json:"sender,omitempty"`
	// Expected is the last SeqID that the append asked for, or nil for any.
	Expected *uint64 `json:"expected,omitempty"`

	// The answer; zero unless Outcome is OK.
	SeqID     uint64 `json:"seq_id,omitempty"`
	Duplicate bool   `json:"duplicate,omitempty"`
	Digest    string `json:"digest,omitempty"`
	// ServerTime is in nanoseconds since 1970.
	ServerTime int64  `json:"server_time,omitempty"`
	Position   uint64 `json:"position,omitempty"`

	// Outcome and Error are the item's own. In an Operation with one item they
	// equal the operation's; an empty Outcome stands for the operation's.
	Outcome Outcome `json:"outcome,omitempty"`
	Error   string  `json:"error,omitempty"`
}

// Seen is one message as a read showed it.
type Seen struct {
	SeqID      uint64 `json:"seq_id"`
	MessageID  string `json:"message_id"`
	Content    uint64 `json:"content"`
	Digest     string `json:"digest,omitempty"`
	ServerTime int64  `json:"server_time,omitempty"`
	// Source is nil but for an entry of an inbox.
	Source *Source `json:"source,omitempty"`
	// Revision is that of a message that was revised; its SeqID is that of the entry.
	Revision *SeenRevision `json:"revision,omitempty"`
	// Revises is what a revision entry says; its SeqID is that of the message.
	Revises *SeenRevision `json:"revises,omitempty"`
}

// SeenRevision is a revision as a read showed it.
type SeenRevision struct {
	SeqID    uint64 `json:"seq_id"`
	Number   uint64 `json:"number"`
	Redacted bool   `json:"redacted,omitempty"`
	// Superseded says that an entry's revision is not the newest.
	Superseded bool `json:"superseded,omitempty"`
}

// Revise is a revision that was asked for, and the answer.
type Revise struct {
	// MessageID is that of the revision, and Target the SeqID of the message.
	MessageID string `json:"message_id"`
	Target    uint64 `json:"target"`
	// Expected is the revision that the message was to have, or nil for any.
	Expected *uint64 `json:"expected,omitempty"`
	Redact   bool    `json:"redact,omitempty"`
	// Content stands for the message with this revision, see ContentOf.
	Content uint64 `json:"content"`
	// Number and SeqID are those of the revision and of its entry; zero unless Outcome is OK.
	Number uint64 `json:"number,omitempty"`
	SeqID  uint64 `json:"seq_id,omitempty"`
}

// Place is one in the change feed: the change number Offset of the log entry Index.
type Place struct {
	Index  uint64 `json:"index"`
	Offset uint64 `json:"offset"`
}

// Before reports whether the place comes before another one.
func (p Place) Before(q Place) bool {
	return p.Index < q.Index || p.Index == q.Index && p.Offset < q.Offset
}

// Source is the message that an entry of an inbox refers to.
type Source struct {
	Timeline string `json:"timeline"`
	SeqID    uint64 `json:"seq_id"`
}

// CursorSeen is one cursor, as asked for or as shown.
type CursorSeen struct {
	Timeline  string `json:"timeline"`
	Reader    string `json:"reader"`
	Delivered uint64 `json:"delivered,omitempty"`
	Read      uint64 `json:"read,omitempty"`
	// Floor is the first message that the reader may see, or 0.
	Floor uint64 `json:"floor,omitempty"`
	// Unread is what an answer says is unread, when the timeline ended at Last; nil if it
	// does not say.
	Unread *uint64 `json:"unread,omitempty"`
	Last   uint64  `json:"last,omitempty"`
}

// ItemOutcome is the outcome of an item of the operation: its own, or the
// operation's if it has none.
func (o *Operation) ItemOutcome(item *Item) Outcome {
	if item.Outcome != "" {
		return item.Outcome
	}
	return o.Outcome
}

// EndsBefore reports whether the operation was before the time: whether what it did,
// if its outcome is OK, had to be visible to what began then.
func (o *Operation) EndsBefore(at time.Duration) bool {
	return o.Completed != NeverEnded && o.Completed < at
}
