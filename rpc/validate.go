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
}

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
	return item, item.draft.Validate("")
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

// ackItem is one validated acknowledgement: a mark that is nil is not moved.
type ackItem struct {
	timeline        tidemark.TimelineID
	delivered, read *tidemark.SeqID
}

func parseAck(req *tidemarkv1.AckRequest) (reader tidemark.ReaderID, items []ackItem, err error) {
	if err := refuseUnknownFields(req); err != nil {
		return "", nil, err
	}
	reader = tidemark.ReaderID(req.GetReader())
	if err := reader.Validate("reader"); err != nil {
		return "", nil, err
	}
	if len(req.GetItems()) == 0 {
		return "", nil, tidemark.Invalid("items", "must not be empty; limit is 1 to %d items", tidemark.MaxAckItems)
	}
	items, err = parseAckItems("items", req.GetItems(), tidemark.MaxAckItems)
	return reader, items, err
}

// parseAckItems validates acknowledgements of one reader, in the field of the request.
func parseAckItems(field string, given []*tidemarkv1.AckItem, most int) ([]ackItem, error) {
	if len(given) > most {
		return nil, tidemark.Invalid(field, "has %d items; limit is %d items", len(given), most)
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
		if items[i], err = parseMarks(timeline, item.DeliveredSeqId, item.ReadSeqId); err != nil {
			return nil, within(place, err)
		}
	}
	return items, nil
}

// parseMarks validates the two marks of one acknowledgement.
func parseMarks(timeline tidemark.TimelineID, delivered, read *uint64) (ackItem, error) {
	item := ackItem{timeline: timeline}
	if delivered == nil && read == nil {
		return item, tidemark.Invalid("delivered_seq_id", "or read_seq_id must be given")
	}
	for _, mark := range []struct {
		field string
		given *uint64
		to    **tidemark.SeqID
	}{{"delivered_seq_id", delivered, &item.delivered}, {"read_seq_id", read, &item.read}} {
		if mark.given == nil {
			continue
		}
		seq, err := parseSeq(mark.field, *mark.given)
		if err != nil {
			return item, err
		}
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
	if req == nil || len(req.ProtoReflect().GetUnknown()) == 0 &&
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
