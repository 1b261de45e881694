package tidemark

import "time"

// Limits of what one call may hold. Each is enforced at the door (rpc) with an
// InvalidError that names the field and the limit, before anything is proposed.
const (
	// MaxTimelineIDBytes keeps the key of a head small enough to scan by prefix.
	MaxTimelineIDBytes = 256
	// MaxMessageIDBytes is enough for a UUID, a ULID or a hash in hexadecimal.
	MaxMessageIDBytes = 64
	// MaxReaderIDBytes is enough for user#device.
	MaxReaderIDBytes = 128
	// MaxSenderBytes is a reader's, because senders read too.
	MaxSenderBytes = MaxReaderIDBytes
	// MaxTypeBytes is enough for a media type.
	MaxTypeBytes = 64
	// MaxAttributesBytes counts all keys and values of one message or timeline.
	MaxAttributesBytes = 4 << 10
	// MaxPayloadBytes keeps one message well below one Raft entry: larger bodies
	// belong in an object store, with their address in the payload.
	MaxPayloadBytes = 256 << 10
	// MaxEntryBytes bounds one Raft entry, and so what can be atomic: an entry
	// is fsynced and sent whole, and holds up those behind it.
	MaxEntryBytes = 512 << 10
	// MaxEntryCommands bounds the commands of one Raft entry.
	MaxEntryCommands = 1024
	// MaxImportSeqID is the highest SeqID that an import may give: behind it there is room
	// for more appends than any timeline will see.
	MaxImportSeqID SeqID = 1 << 62
	// MaxBatchMessages and MaxBatchBytes bound one AppendBatch.
	MaxBatchMessages = 1024
	MaxBatchBytes    = 4 << 20
	// MaxPageMessages and MaxPageBytes bound one page of a read; DefaultPageMessages
	// is what a read that names no limit gets.
	MaxPageMessages     = 1000
	DefaultPageMessages = 100
	MaxPageBytes        = 4 << 20
	// MaxTailSubscriptions bounds the subscriptions of one Tail, and MaxTailRequestItems
	// those that one request of it adds or ends.
	MaxTailSubscriptions = 100_000
	MaxTailRequestItems  = 1024
	// MaxSyncPositions bounds the timelines of one Sync.
	MaxSyncPositions = 10_000
	// MaxVerifyPoints bounds the digests that one Verify compares.
	MaxVerifyPoints = 1024
	// MaxAckItems bounds the cursors of one Ack.
	MaxAckItems = 1024
	// MaxListItems bounds one page of timelines or cursors; DefaultListItems is
	// what a listing that names no limit gets.
	MaxListItems     = 1000
	DefaultListItems = 100
	// MaxConversations bounds the timelines that a listing by newest activity sorts.
	MaxConversations = 100_000
	// MaxRecipients bounds a recipient set: an append to so many inboxes takes all
	// replicas some fifty milliseconds, in which nothing else is applied. Larger groups
	// are for fan-out on read.
	MaxRecipients = 10_000
	// MaxListedInboxes bounds the inboxes that one append lists, which are in its log
	// entry, and MaxRecipientChanges what one call adds to and removes from a set.
	MaxListedInboxes    = 1000
	MaxRecipientChanges = 1000
	// MaxTrimMessages bounds what one command trims, so that it holds up no appends.
	MaxTrimMessages = 1000
	// MaxPolicies bounds the retention policies of a cluster, each of which is looked at
	// for each timeline, and MaxPolicyReaders the readers that one names.
	MaxPolicies      = 256
	MaxPolicyReaders = 16
	// MaxClockSkew is how far a timeline's server time may run ahead of a new
	// leader's clock before the leader says so in its log.
	MaxClockSkew = 500 * time.Millisecond
)

// A message of the largest size with the largest fields fits into one entry, with
// room for the encoding.
const _ uint = MaxEntryBytes - (MaxPayloadBytes + MaxAttributesBytes + MaxTimelineIDBytes + MaxMessageIDBytes + MaxSenderBytes + MaxTypeBytes + 64<<10)
