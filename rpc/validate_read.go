package rpc

import (
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// This file is validate.go for reads.

func fieldNumber(raw []byte) protowire.Number {
	number, _, _ := protowire.ConsumeTag(raw)
	return number
}

// defaultPageBytes bounds a page whose request names no max_bytes: with encoding it
// stays within the 4 MiB that gRPC clients receive unless told otherwise.
const defaultPageBytes = 2 << 20

// pageQuery is a validated Read.
type pageQuery struct {
	tidemark.Range
	level level
	// ack acknowledges the page before, or is nil.
	ack *ackItem
}

func parseRead(req *tidemarkv1.ReadRequest) (query pageQuery, err error) {
	if err := refuseUnknownFields(req); err != nil {
		return query, err
	}
	query.Timeline = tidemark.TimelineID(req.GetTimeline())
	if err := query.Timeline.Validate("timeline"); err != nil {
		return query, err
	}
	if query.Limit, err = parseLimit("limit", req.GetLimit(), tidemark.DefaultPageMessages, tidemark.MaxPageMessages, "messages"); err != nil {
		return query, err
	}
	if query.MaxBytes, err = parseLimit("max_bytes", req.GetMaxBytes(), defaultPageBytes, tidemark.MaxPageBytes, "bytes"); err != nil {
		return query, err
	}
	if err := query.parseStart(req); err != nil {
		return query, err
	}
	if query.level, err = parseLevel(req.GetConsistency()); err != nil {
		return query, err
	}
	return query, query.parseReadAck(req)
}

// parseStart fills in where the page starts and which way it extends.
func (q *pageQuery) parseStart(req *tidemarkv1.ReadRequest) (err error) {
	natural := tidemarkv1.Direction_DIRECTION_FORWARD
	backwardOnly := ""
	switch start := req.GetStart().(type) {
	case nil:
		q.Start, q.Seq = tidemark.StartSeq, 1
	case *tidemarkv1.ReadRequest_FromSeqId:
		q.Start = tidemark.StartSeq
		if q.Seq, err = parseSeq("from_seq_id", start.FromSeqId); err != nil {
			return err
		}
	case *tidemarkv1.ReadRequest_BeforeSeqId:
		natural, backwardOnly = tidemarkv1.Direction_DIRECTION_BACKWARD, "before_seq_id"
		q.Start = tidemark.StartBefore
		if q.Seq, err = parseSeq("before_seq_id", start.BeforeSeqId); err != nil {
			return err
		}
	case *tidemarkv1.ReadRequest_Newest:
		natural, backwardOnly = tidemarkv1.Direction_DIRECTION_BACKWARD, "newest"
		q.Start = tidemark.StartNewest
		if !start.Newest {
			return tidemark.Invalid("newest", "must be true if it is given; choose another start instead")
		}
	case *tidemarkv1.ReadRequest_FromTime:
		q.Start = tidemark.StartTime
		if q.Time, err = parseTime("from_time", start.FromTime); err != nil {
			return err
		}
	}
	return q.parseDirection(req.GetDirection(), natural, backwardOnly)
}

func (q *pageQuery) parseDirection(given, natural tidemarkv1.Direction, backwardOnly string) error {
	switch given {
	case tidemarkv1.Direction_DIRECTION_UNSPECIFIED:
		given = natural
	case tidemarkv1.Direction_DIRECTION_FORWARD:
		if backwardOnly != "" {
			return tidemark.Invalid("direction", "must not be DIRECTION_FORWARD with %s, which is always backward", backwardOnly)
		}
	case tidemarkv1.Direction_DIRECTION_BACKWARD:
	default:
		return tidemark.Invalid("direction", "is %d; it must be one of 0 to 2", given)
	}
	q.Direction = tidemark.Forward
	if given == tidemarkv1.Direction_DIRECTION_BACKWARD {
		q.Direction = tidemark.Backward
	}
	return nil
}

func (q *pageQuery) parseReadAck(req *tidemarkv1.ReadRequest) error {
	q.Reader = tidemark.ReaderID(req.GetReader())
	ack := req.GetAck()
	if q.Reader == "" && ack == nil {
		return nil
	}
	if err := q.Reader.Validate("reader"); err != nil {
		return err
	}
	if ack == nil {
		return nil
	}
	item, err := parseMarks(q.Timeline, &tidemarkv1.AckItem{DeliveredSeqId: given(ack.GetDeliveredSeqId()), ReadSeqId: given(ack.GetReadSeqId())}, false)
	if err != nil {
		return within("ack", err)
	}
	q.ack = &item
	return nil
}

// given makes an optional of a field for which 0 means that it is not there.
func given(seq uint64) *uint64 {
	if seq == 0 {
		return nil
	}
	return &seq
}

// parseLimit gives the default for 0, and refuses more than the most.
func parseLimit(field string, value uint32, byDefault, most int, unit string) (int, error) {
	if value == 0 {
		return byDefault, nil
	}
	if uint64(value) > uint64(most) {
		return 0, tidemark.Invalid(field, "must be at most %d %s; it is %d", most, unit, value)
	}
	return int(value), nil
}

// getQuery is a validated Get: by id, or else by seq.
type getQuery struct {
	timeline tidemark.TimelineID
	id       tidemark.MessageID
	seq      tidemark.SeqID
	level    level
}

func parseGet(req *tidemarkv1.GetRequest) (q getQuery, err error) {
	if err := refuseUnknownFields(req); err != nil {
		return q, err
	}
	q.timeline = tidemark.TimelineID(req.GetTimeline())
	if err := q.timeline.Validate("timeline"); err != nil {
		return q, err
	}
	switch by := req.GetBy().(type) {
	case *tidemarkv1.GetRequest_SeqId:
		q.seq, err = parseSeq("seq_id", by.SeqId)
	case *tidemarkv1.GetRequest_MessageId:
		q.id = tidemark.MessageID(by.MessageId)
		err = q.id.Validate("message_id")
	default:
		err = tidemark.Invalid("by", "must be given: seq_id or message_id")
	}
	if err != nil {
		return q, err
	}
	q.level, err = parseLevel(req.GetConsistency())
	return q, err
}

// maxMillis is the longest bound on staleness that a time.Duration can hold.
const maxMillis = math.MaxInt64 / uint64(time.Millisecond)

// levelKind is a read level; see docs/guarantees.md.
type levelKind uint8

const (
	linearizable levelKind = iota
	session
	local
)

// level is a validated Consistency.
type level struct {
	kind levelKind
	// position is what a session has seen.
	position tidemark.Position
	// maxStaleness bounds a local read if bounded.
	maxStaleness time.Duration
	bounded      bool
}

func parseLevel(consistency *tidemarkv1.Consistency) (level, error) {
	switch given := consistency.GetLevel().(type) {
	case *tidemarkv1.Consistency_Session_:
		position, err := tidemark.ParsePosition("consistency.session.position", given.Session.GetPosition())
		return level{kind: session, position: position}, err
	case *tidemarkv1.Consistency_Local_:
		l := level{kind: local}
		if given.Local != nil && given.Local.MaxStalenessMillis != nil {
			l.bounded = true
			l.maxStaleness = time.Duration(min(*given.Local.MaxStalenessMillis, maxMillis)) * time.Millisecond
		}
		return l, nil
	default:
		return level{kind: linearizable}, nil
	}
}
