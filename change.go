package tidemark

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
)

// ChangePosition is a place in the change feed: before the change number Offset, counted
// from 0, of the log entry Index. It is the same place on every node. One of a whole
// entry's end is that of the next entry's begin, with an Offset of 0, whether there is
// such an entry yet or not.
type ChangePosition struct {
	// Feed names the history that the place is in; see Changes in docs/changes.md. A
	// position of another cluster, or of this one before it was recovered by hand, has another.
	Feed uint64
	// Index is at least 1, but in the zero value, which is the start of what is retained.
	Index  uint64
	Offset uint64
}

// The encoding of a ChangePosition: a version byte, then three big-endian u64.
const (
	changePositionVersion = 1
	changePositionBytes   = 1 + 3*8
)

// IsZero reports whether it is the start of what is retained.
func (p ChangePosition) IsZero() bool { return p == ChangePosition{} }

// Before reports whether the place is nearer to the start than another one of its feed.
func (p ChangePosition) Before(q ChangePosition) bool {
	return p.Index < q.Index || p.Index == q.Index && p.Offset < q.Offset
}

// Token encodes the position for clients. That of the zero value is empty.
func (p ChangePosition) Token() []byte {
	if p.IsZero() {
		return nil
	}
	b := append(make([]byte, 0, changePositionBytes), changePositionVersion)
	b = binary.BigEndian.AppendUint64(b, p.Feed)
	b = binary.BigEndian.AppendUint64(b, p.Index)
	return binary.BigEndian.AppendUint64(b, p.Offset)
}

// String is the token in URL-safe base64 without padding, or empty for the zero value.
func (p ChangePosition) String() string { return base64.RawURLEncoding.EncodeToString(p.Token()) }

// ParseChangePosition decodes what Token made. It reports an *InvalidError that names field
// for anything else.
func ParseChangePosition(field string, token []byte) (p ChangePosition, err error) {
	if len(token) == 0 {
		return p, nil
	}
	if len(token) != changePositionBytes || token[0] != changePositionVersion {
		return p, Invalid(field, "is not a position of the change feed")
	}
	p.Feed, p.Index, p.Offset = binary.BigEndian.Uint64(token[1:]), binary.BigEndian.Uint64(token[9:]), binary.BigEndian.Uint64(token[17:])
	if p.Index == 0 {
		return ChangePosition{}, Invalid(field, "is not a position of the change feed")
	}
	return p, nil
}

// ParseChangePositionText is ParseChangePosition for what String made.
func ParseChangePositionText(field, text string) (ChangePosition, error) {
	token, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return ChangePosition{}, Invalid(field, "is not a position of the change feed")
	}
	return ParseChangePosition(field, token)
}

// ChangeKind says what a change did.
type ChangeKind uint8

const (
	// ChangeAppended is a message that was appended or imported.
	ChangeAppended ChangeKind = iota + 1
	// ChangeTrimmed took away the messages of a timeline before a SeqID.
	ChangeTrimmed
	// ChangeDeleted took away the timeline, whose last SeqID it names.
	ChangeDeleted
)

// ChangeRun is what a log entry did to one timeline, at one go.
type ChangeRun struct {
	Kind ChangeKind
	// Timeline is the timeline's number in the store.
	Timeline uint64
	// Seq is the first message that was appended, the first that is retained, or the last
	// of a timeline that was deleted.
	Seq SeqID
	// Count is how many changes it is: the messages that were appended, and else 1.
	Count uint64
}

// Change is one change of the feed.
type Change struct {
	// Position is the place behind it.
	Position ChangePosition
	Kind     ChangeKind
	Timeline TimelineID
	// Seq is as in ChangeRun, of this change.
	Seq SeqID
	// Message is what was appended, or nil if it is gone meanwhile.
	Message *Message
}

// ChangesQuery asks for a page of the change feed.
type ChangesQuery struct {
	// From is where the page begins.
	From ChangePosition
	// Prefix is what the timelines' ids begin with; empty for all.
	Prefix string
	// MaxChanges and MaxBytes bound the page; PullCost counts the bytes. One change is
	// returned even if it is larger.
	MaxChanges, MaxBytes int
}

// ChangesPage is a page of the change feed, all of one moment.
type ChangesPage struct {
	Changes []Change
	// Next is where the next page begins, which may be behind what does not have the prefix.
	Next ChangePosition
	// More says that the store holds something behind Next.
	More bool
	// Applied is the index of the last entry that the page could have shown.
	Applied uint64
}

// ChangesTrimmedError says where the change feed begins. It is ErrChangesTrimmed.
type ChangesTrimmedError struct{ First ChangePosition }

func (e *ChangesTrimmedError) Error() string {
	return fmt.Sprintf("changes after the position are not retained any more; the first position that is: %s", e.First)
}
func (e *ChangesTrimmedError) Is(target error) bool { return target == ErrChangesTrimmed }
