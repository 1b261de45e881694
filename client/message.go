package client

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// Draft is a message as its sender hands it in. Only Timeline is required.
type Draft struct {
	// Timeline is 1 to 256 bytes of UTF-8. Its first append creates it.
	Timeline tidemark.TimelineID
	// ID makes the append exactly-once: at most one message of the timeline has
	// it. If it is empty, Append makes a UUIDv7. Give an own one if the append may
	// be retried by another process, such as after a restart.
	ID tidemark.MessageID
	// Sender is at most 128 bytes of UTF-8.
	Sender string
	// Type tells readers how to understand Payload, in at most 64 bytes of UTF-8.
	Type string
	// Payload is at most 256 KiB of any value.
	Payload []byte
	// Attributes are at most 4 KiB, all keys and values together.
	Attributes map[string]string
	// ClientTime is when the sender says that it sent; zero if it does not. If ID
	// and ClientTime are both left out, Append sets both. With an ID given,
	// ClientTime stays as it is, because it is content: a retry with the same ID
	// and another time would be a conflict.
	ClientTime time.Time
}

// Message is a Draft with the place and time that the cluster gave to it.
type Message struct {
	Draft
	// SeqID is 1 for the first message of the timeline, and then rises by 1.
	SeqID tidemark.SeqID
	// ServerTime is the leader's clock, which never runs backwards within a timeline.
	ServerTime time.Time
	// Digest closes the chain over all messages of the timeline up to this one.
	Digest tidemark.Digest
	// Source is nil, or, for an entry of an inbox, the message that it refers to: ID, Sender,
	// Type, Payload, Attributes and ClientTime are the source's then, or empty but the ID if
	// the source is gone.
	Source *tidemark.Source
	// Revision is nil for a message that is as it was appended. Of an entry of an inbox it is
	// the source's.
	Revision *tidemark.Revision
	// Revises is nil, or, for a revision entry, which message was revised. Of an entry of an
	// inbox it is the source's, and its SeqID one in the source's timeline.
	Revises *tidemark.Revises
}

// AppendResult says where an append ended up.
type AppendResult struct {
	Timeline   tidemark.TimelineID
	ID         tidemark.MessageID
	SeqID      tidemark.SeqID
	ServerTime time.Time
	Digest     tidemark.Digest
	// Duplicate says that the message was there already, put there by an earlier
	// call or by an earlier attempt of this one. The other fields are those of the
	// first time.
	Duplicate bool
	// Position is where a read with SessionAt sees the message.
	Position tidemark.Position
	// Inboxes is how many inboxes got a reference, and RecipientsVersion the version of the
	// recipient set that was used; 0 if the message was there already.
	Inboxes           int
	RecipientsVersion uint64
}

// Timeline sums up a timeline.
type Timeline struct {
	ID tidemark.TimelineID
	// First is the first retained SeqID, and Last the last one.
	First, Last tidemark.SeqID
	// Count and Bytes are those of the retained messages.
	Count, Bytes uint64
	// CreatedTime and LastTime are the server times of the first message ever and of the last one.
	CreatedTime, LastTime time.Time
	// Digest is that of the message Last, and TrimmedDigest that of the one before First, if
	// messages were trimmed.
	Digest, TrimmedDigest tidemark.Digest
	// Attributes are in what Timeline, Timelines and UpdateTimeline return.
	Attributes map[string]string
}

// Cursor says how far a reader has come in a timeline. Its marks only grow, unless Rewind
// sets them back.
type Cursor struct {
	Timeline tidemark.TimelineID
	Reader   tidemark.ReaderID
	// Delivered and Read are the last SeqIDs that were acknowledged as such. Read implies Delivered.
	Delivered, Read tidemark.SeqID
	UpdatedTime     time.Time
	// Floor is the first message that the reader may see; 0 for all.
	Floor tidemark.SeqID
	// Last is the timeline's last SeqID, and LastTime the server time of its last message.
	Last     tidemark.SeqID
	LastTime time.Time
	// Unread is how many messages the reader has not read: of those that the timeline holds,
	// the ones behind Read and not before Floor that were not sent by the reader's own
	// user, which is what stands before the first "#". It is known (UnreadKnown) in what
	// ReaderCursors, Conversations and Sync return.
	Unread      uint64
	UnreadKnown bool
}

// Tidemark is the draft in the words of the root package, with which content
// hashes are computed. It fails if ClientTime is out of range.
func (d Draft) Tidemark() (tidemark.Draft, error) {
	clientTime, err := tidemark.TimeOf("client_time", d.ClientTime)
	if err != nil {
		return tidemark.Draft{}, err
	}
	return tidemark.Draft{
		Timeline:   d.Timeline,
		ID:         d.ID,
		Sender:     d.Sender,
		Type:       d.Type,
		Payload:    d.Payload,
		Attributes: tidemark.AttributesFromMap(d.Attributes),
		ClientTime: clientTime,
	}, nil
}

func (d *Draft) request(o *appendOptions) *pb.AppendRequest {
	request := &pb.AppendRequest{
		Timeline:          string(d.Timeline),
		MessageId:         string(d.ID),
		Sender:            d.Sender,
		Type:              d.Type,
		Payload:           d.Payload,
		Attributes:        d.Attributes,
		ExpectedLastSeqId: (*uint64)(o.expected),

		AdvanceSenderCursor: o.advanceSender,
	}
	if !o.fanOut.None() {
		request.FanOut = &pb.FanOut{Recipients: o.fanOut.Recipients, Inboxes: names(o.fanOut.Inboxes)}
	}
	if !d.ClientTime.IsZero() {
		request.ClientTime = timestamppb.New(d.ClientTime)
	}
	return request
}

func messageOf(m *pb.Message) Message {
	return Message{
		Draft: Draft{
			Timeline:   tidemark.TimelineID(m.GetTimeline()),
			ID:         tidemark.MessageID(m.GetMessageId()),
			Sender:     m.GetSender(),
			Type:       m.GetType(),
			Payload:    m.GetPayload(),
			Attributes: m.GetAttributes(),
			ClientTime: timeOf(m.GetClientTime()),
		},
		SeqID:      tidemark.SeqID(m.GetSeqId()),
		ServerTime: timeOf(m.GetServerTime()),
		Digest:     digestOf(m.GetDigest()),
		Source:     sourceOf(m.GetSource()),
		Revision:   revisionOf(m.GetRevision()),
		Revises:    revisesOf(m.GetRevises()),
	}
}

func revisionOf(r *pb.Revision) *tidemark.Revision {
	if r == nil {
		return nil
	}
	return &tidemark.Revision{
		Number: r.GetRevision(), Time: tidemark.Time(r.GetTime().AsTime().UnixNano()), SeqID: tidemark.SeqID(r.GetSeqId()), Redacted: r.GetRedacted(),
		Original: contentHashOf(r.GetOriginalContentHash()),
	}
}

func revisesOf(r *pb.Revises) *tidemark.Revises {
	if r == nil {
		return nil
	}
	return &tidemark.Revises{
		SeqID: tidemark.SeqID(r.GetSeqId()), Number: r.GetRevision(), Redacted: r.GetRedacted(), Content: contentHashOf(r.GetContentHash()),
		Superseded: r.GetSuperseded(), Gone: r.GetGone(),
	}
}

// contentHashOf is zero for what is no hash.
func contentHashOf(b []byte) (hash tidemark.ContentHash) {
	if len(b) == len(hash) {
		copy(hash[:], b)
	}
	return hash
}

func sourceOf(s *pb.Source) *tidemark.Source {
	if s == nil {
		return nil
	}
	return &tidemark.Source{Timeline: tidemark.TimelineID(s.GetTimeline()), SeqID: tidemark.SeqID(s.GetSeqId()), Digest: digestOf(s.GetDigest()), Gone: s.GetGone()}
}

func names(ids []tidemark.TimelineID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}

func timelineOf(t *pb.Timeline) Timeline {
	return Timeline{
		ID:          tidemark.TimelineID(t.GetTimeline()),
		First:       tidemark.SeqID(t.GetFirstSeqId()),
		Last:        tidemark.SeqID(t.GetLastSeqId()),
		Count:       t.GetCount(),
		Bytes:       t.GetBytes(),
		CreatedTime: timeOf(t.GetCreatedAt()),
		LastTime:    timeOf(t.GetLastServerTime()),
		Digest:      digestOf(t.GetDigest()),

		TrimmedDigest: digestOf(t.GetTrimmedDigest()),
		Attributes:    t.GetAttributes(),
	}
}

func cursorOf(c *pb.Cursor) Cursor {
	return Cursor{
		Timeline:    tidemark.TimelineID(c.GetTimeline()),
		Reader:      tidemark.ReaderID(c.GetReader()),
		Delivered:   tidemark.SeqID(c.GetDeliveredSeqId()),
		Read:        tidemark.SeqID(c.GetReadSeqId()),
		UpdatedTime: timeOf(c.GetUpdatedAt()),
		Floor:       tidemark.SeqID(c.GetFloorSeqId()),
		Last:        tidemark.SeqID(c.GetLastSeqId()),
		LastTime:    timeOf(c.GetLastServerTime()),
		Unread:      c.GetUnread(),
		UnreadKnown: c.Unread != nil,
	}
}

func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func digestOf(b []byte) (digest tidemark.Digest) {
	copy(digest[:], b)
	return digest
}
