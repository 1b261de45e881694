package rpc

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// This file turns write requests into the words of the root package, and refuses
// what breaks a rule before anything is proposed. Each parse function returns an
// error that wraps tidemark.ErrInvalid and names the field and the limit.

// appendItem is one validated append.
type appendItem struct {
	draft tidemark.Draft
	// expected is what expected_last_seq_id says, or nil.
	expected *tidemark.SeqID
	fanOut   tidemark.FanOut
	// advanceSender moves the sender's cursor.
	advanceSender bool
}

// needsFanOut says whether the item asks for what came with fanOutLevel.
func (item *appendItem) needsFanOut() bool { return item.advanceSender || !item.fanOut.None() }

// parseAppend validates one append. The draft shares the request's payload. Field
// names are built only when a rule is broken, because this runs for every append.
func parseAppend(req *tidemarkv1.AppendRequest) (item appendItem, err error) {
	if err := refuseUnknownInAppend(req); err != nil {
		return item, err
	}
	clientTime := tidemark.NoTime
	if req.GetClientTime() != nil {
		if clientTime, err = parseTime("client_time", req.GetClientTime()); err != nil {
			return item, err
		}
	}
	item.draft = tidemark.Draft{
		Timeline:   tidemark.TimelineID(req.GetTimeline()),
		ID:         tidemark.MessageID(req.GetMessageId()),
		Sender:     req.GetSender(),
		Type:       req.GetType(),
		Payload:    req.GetPayload(),
		Attributes: tidemark.AttributesFromMap(req.GetAttributes()),
		ClientTime: clientTime,
	}
	if req.ExpectedLastSeqId != nil {
		expected := tidemark.SeqID(req.GetExpectedLastSeqId())
		item.expected = &expected
	}
	if err := item.draft.Validate(""); err != nil {
		return item, err
	}
	return item, item.parseFanOut(req)
}

func (item *appendItem) parseFanOut(req *tidemarkv1.AppendRequest) error {
	if item.advanceSender = req.GetAdvanceSenderCursor(); item.advanceSender {
		if err := tidemark.ReaderID(item.draft.Sender).Validate("sender"); err != nil {
			return err
		}
	}
	fanOut := req.GetFanOut()
	if fanOut == nil {
		return nil
	}
	item.fanOut = tidemark.FanOut{Recipients: fanOut.GetRecipients(), Inboxes: timelineIDs(fanOut.GetInboxes())}
	return item.fanOut.Validate("", item.draft.Timeline)
}

// parseBatch validates the batch as a whole and each of its items. The error of an
// item stands in errs at its place; in an atomic batch the first of them is err.
func parseBatch(req *tidemarkv1.AppendBatchRequest) (items []appendItem, errs []error, err error) {
	if raw := req.ProtoReflect().GetUnknown(); len(raw) > 0 { // the items look after themselves
		return nil, nil, refuseUnknownFields(req)
	}
	requests := req.GetItems()
	if len(requests) == 0 {
		return nil, nil, tidemark.Invalid("items", "must not be empty; limit is 1 to %d items", tidemark.MaxBatchMessages)
	}
	if len(requests) > tidemark.MaxBatchMessages {
		return nil, nil, tidemark.Invalid("items", "has %d items; limit is %d items", len(requests), tidemark.MaxBatchMessages)
	}
	items, errs = make([]appendItem, len(requests)), make([]error, len(requests))
	size := 0
	for i, request := range requests {
		items[i], errs[i] = parseAppend(request)
		if errs[i] != nil {
			errs[i] = within(fmt.Sprintf("items[%d]", i), errs[i])
			if req.GetAtomic() {
				return nil, nil, errs[i]
			}
		}
		size += items[i].draft.Size()
	}
	if size > tidemark.MaxBatchBytes {
		return nil, nil, tidemark.Invalid("items", "have %d bytes; limit is %d bytes", size, tidemark.MaxBatchBytes)
	}
	return items, errs, nil
}

// acknowledgement is a validated Ack, or that of a Read or Sync.
type acknowledgement struct {
	reader tidemark.ReaderID
	items  []ackItem
	// rewind lets marks go back.
	rewind bool
}

// ackItem is one item of an acknowledgement: a mark that is nil is not moved.
type ackItem struct {
	timeline               tidemark.TimelineID
	delivered, read, floor *tidemark.SeqID
}

func parseAck(req *tidemarkv1.AckRequest) (a acknowledgement, err error) {
	if err := refuseUnknownFields(req); err != nil {
		return a, err
	}
	a.reader, a.rewind = tidemark.ReaderID(req.GetReader()), req.GetRewind()
	if err := a.reader.Validate("reader"); err != nil {
		return a, err
	}
	if len(req.GetItems()) == 0 {
		return a, tidemark.Invalid("items", "must not be empty; limit is 1 to %d items", tidemark.MaxAckItems)
	}
	a.items, err = parseAckItems("items", req.GetItems(), a.rewind)
	return a, err
}

// parseAckItems validates acknowledgements of one reader, in the field of the request.
func parseAckItems(field string, given []*tidemarkv1.AckItem, rewind bool) ([]ackItem, error) {
	if len(given) > tidemark.MaxAckItems {
		return nil, tidemark.Invalid(field, "has %d items; limit is %d items", len(given), tidemark.MaxAckItems)
	}
	items := make([]ackItem, len(given))
	seen := make(map[tidemark.TimelineID]int, len(items))
	for i, item := range given {
		place := fmt.Sprintf("%s[%d]", field, i)
		timeline := tidemark.TimelineID(item.GetTimeline())
		if err := timeline.Validate(place + ".timeline"); err != nil {
			return nil, err
		}
		if first, twice := seen[timeline]; twice {
			return nil, tidemark.Invalid(place+".timeline", "is that of %s[%d] too; a timeline may be acknowledged once in a call", field, first)
		}
		seen[timeline] = i
		var err error
		if items[i], err = parseMarks(timeline, item, rewind); err != nil {
			return nil, within(place, err)
		}
	}
	return items, nil
}

// parseMarks validates the marks of one acknowledgement.
func parseMarks(timeline tidemark.TimelineID, marks *tidemarkv1.AckItem, rewind bool) (ackItem, error) {
	item := ackItem{timeline: timeline}
	if marks.DeliveredSeqId == nil && marks.ReadSeqId == nil && marks.FloorSeqId == nil {
		return item, tidemark.Invalid("delivered_seq_id", "or read_seq_id or floor_seq_id must be given")
	}
	for _, mark := range []struct {
		field string
		given *uint64
		to    **tidemark.SeqID
	}{
		{"delivered_seq_id", marks.DeliveredSeqId, &item.delivered},
		{"read_seq_id", marks.ReadSeqId, &item.read},
		{"floor_seq_id", marks.FloorSeqId, &item.floor},
	} {
		switch {
		case mark.given == nil:
			continue
		case *mark.given == 0 && !rewind:
			return item, tidemark.Invalid(mark.field, "must be at least 1, the SeqId of the first message, unless it is a rewind")
		}
		seq := tidemark.SeqID(*mark.given)
		*mark.to = &seq
	}
	return item, nil
}

// parseSeq refuses 0, which no message has.
func parseSeq(field string, seq uint64) (tidemark.SeqID, error) {
	if seq == 0 {
		return 0, tidemark.Invalid(field, "must be at least 1, the SeqId of the first message")
	}
	return tidemark.SeqID(seq), nil
}

// parseTime refuses what a tidemark.Time cannot say. A given timestamp is never NoTime.
func parseTime(field string, stamp *timestamppb.Timestamp) (tidemark.Time, error) {
	if err := stamp.CheckValid(); err != nil {
		return tidemark.NoTime, tidemark.Invalid(field, "is not a valid timestamp: nanos must be 0 to 999999999, and seconds within the years 1 to 9999")
	}
	instant := stamp.AsTime()
	if instant.IsZero() {
		instant = instant.Add(time.Nanosecond) // as much out of range, but not "not given"
	}
	return tidemark.TimeOf(field, instant)
}

// within puts the name of an outer field before that of an InvalidError.
func within(field string, err error) error {
	if invalid, ok := err.(*tidemark.InvalidError); ok {
		return &tidemark.InvalidError{Field: field + "." + invalid.Field, Rule: invalid.Rule}
	}
	return err
}

// refuseUnknownInAppend is refuseUnknownFields without reflection over the fields.
func refuseUnknownInAppend(req *tidemarkv1.AppendRequest) error {
	if req == nil || len(req.ProtoReflect().GetUnknown()) == 0 && req.FanOut == nil &&
		(req.ClientTime == nil || len(req.ClientTime.ProtoReflect().GetUnknown()) == 0) {
		return nil
	}
	return refuseUnknownFields(req)
}

// refuseUnknownFields refuses a message that holds, at any depth, a field that this
// version does not know: a newer client's wish must not be ignored in silence. The
// decoder drops unknown fields of a map's entries, so those are not seen here.
func refuseUnknownFields(m proto.Message) error {
	if isUndecodable(m) {
		return errUndecodable
	}
	if field := unknownField(m.ProtoReflect(), ""); field != "" {
		return tidemark.Invalid(field, "is not known to this version of the server")
	}
	return nil
}

// unknownField is the name of the first unknown field of m or of what it holds, or "".
func unknownField(m protoreflect.Message, prefix string) (found string) {
	if raw := m.GetUnknown(); len(raw) > 0 {
		return fmt.Sprintf("%sfield %d", prefix, fieldNumber(raw))
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		name := prefix + string(field.Name())
		switch {
		case field.IsMap() || field.Message() == nil:
		case field.IsList():
			for i := range value.List().Len() {
				if found = unknownField(value.List().Get(i).Message(), fmt.Sprintf("%s[%d].", name, i)); found != "" {
					break
				}
			}
		default:
			found = unknownField(value.Message(), name+".")
		}
		return found == ""
	})
	return found
}
