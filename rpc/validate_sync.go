package rpc

import (
	"encoding/binary"
	"fmt"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// This file is validate.go for Sync and Verify.

// syncQuery is a validated Sync.
type syncQuery struct {
	tidemark.Pull
	acks  []ackItem
	level level
	// ofReader says that the positions are the reader's own, of the timelines with
	// numbers after afterNumber.
	ofReader    bool
	afterNumber uint64
}

// name is what page tokens are bound to.
func (q *syncQuery) name() string { return "sync of reader " + string(q.Reader) }

func parseSync(req *tidemarkv1.SyncRequest) (q syncQuery, err error) {
	if err := refuseUnknownFields(req); err != nil {
		return q, err
	}
	q.Reader = tidemark.ReaderID(req.GetReader())
	if q.Reader != "" {
		if err := q.Reader.Validate("reader"); err != nil {
			return q, err
		}
	}
	if q.MaxBytes, err = parseLimit("max_bytes", req.GetMaxBytes(), defaultPageBytes, tidemark.MaxPageBytes, "bytes"); err != nil {
		return q, err
	}
	if q.MaxMessages, err = parseLimit("limit", req.GetLimit(), tidemark.DefaultPageMessages, tidemark.MaxPageMessages, "messages"); err != nil {
		return q, err
	}
	if q.level, err = parseLevel(req.GetConsistency()); err != nil {
		return q, err
	}
	if err := q.parsePositions(req); err != nil {
		return q, err
	}
	if len(req.GetAcks()) > 0 && q.Reader == "" {
		return q, tidemark.Invalid("reader", "must be given with acks")
	}
	q.acks, err = parseAckItems("acks", req.GetAcks(), false)
	return q, err
}

// classOf is the class in which a priority is served.
var classOf = map[tidemarkv1.SyncPriority]uint8{
	tidemarkv1.SyncPriority_SYNC_PRIORITY_HIGH:        0,
	tidemarkv1.SyncPriority_SYNC_PRIORITY_UNSPECIFIED: 1,
	tidemarkv1.SyncPriority_SYNC_PRIORITY_NORMAL:      1,
	tidemarkv1.SyncPriority_SYNC_PRIORITY_LOW:         2,
}

func (q *syncQuery) parsePositions(req *tidemarkv1.SyncRequest) error {
	have := req.GetHave()
	if len(have) == 0 {
		return q.parseOfReader(req.GetPageToken())
	}
	if req.GetPageToken() != "" {
		return tidemark.Invalid("page_token", "must be empty with have, which has one page")
	}
	if len(have) > tidemark.MaxSyncPositions {
		return tidemark.Invalid("have", "has %d items; limit is %d items", len(have), tidemark.MaxSyncPositions)
	}
	q.Positions = make([]tidemark.PullPosition, len(have))
	seen := make(map[tidemark.TimelineID]int, len(have))
	for i, item := range have {
		at := &q.Positions[i]
		at.Timeline = tidemark.TimelineID(item.GetTimeline())
		if err := at.Timeline.Validate("timeline"); err != nil {
			return within(fmt.Sprintf("have[%d]", i), err)
		}
		if first, twice := seen[at.Timeline]; twice {
			return tidemark.Invalid(fmt.Sprintf("have[%d].timeline", i), "is that of have[%d] too", first)
		}
		seen[at.Timeline] = i
		var known bool
		if at.Class, known = classOf[item.GetPriority()]; !known {
			return tidemark.Invalid(fmt.Sprintf("have[%d].priority", i), "is %d; it must be one of 0 to 3", item.GetPriority())
		}
		switch start := item.GetStart().(type) {
		case *tidemarkv1.SyncPosition_AfterSeqId:
			at.After = tidemark.SeqID(start.AfterSeqId)
		case *tidemarkv1.SyncPosition_FromCursor:
			if !start.FromCursor {
				return tidemark.Invalid(fmt.Sprintf("have[%d].from_cursor", i), "must be true if it is given; choose after_seq_id instead")
			}
			if q.Reader == "" {
				return tidemark.Invalid("reader", "must be given with from_cursor")
			}
			at.FromCursor = true
		}
	}
	return nil
}

func (q *syncQuery) parseOfReader(token string) error {
	if q.Reader == "" {
		return tidemark.Invalid("have", "or reader must be given")
	}
	q.ofReader = true
	after, err := parsePageToken(token, q.name())
	if err != nil || after == nil {
		return err
	}
	if len(after) != 8 {
		return tidemark.Invalid("page_token", "is not a next_page_token of this API")
	}
	q.afterNumber = binary.BigEndian.Uint64(after)
	return nil
}

// verifyQuery is a validated Verify. Seqs and digests are in parallel.
type verifyQuery struct {
	timeline tidemark.TimelineID
	seqs     []tidemark.SeqID
	digests  []tidemark.Digest
	level    level
}

func parseVerify(req *tidemarkv1.VerifyRequest) (q verifyQuery, err error) {
	if err := refuseUnknownFields(req); err != nil {
		return q, err
	}
	q.timeline = tidemark.TimelineID(req.GetTimeline())
	if err := q.timeline.Validate("timeline"); err != nil {
		return q, err
	}
	points := req.GetPoints()
	if len(points) == 0 || len(points) > tidemark.MaxVerifyPoints {
		return q, tidemark.Invalid("points", "has %d items; limit is 1 to %d items", len(points), tidemark.MaxVerifyPoints)
	}
	q.seqs, q.digests = make([]tidemark.SeqID, len(points)), make([]tidemark.Digest, len(points))
	for i, point := range points {
		if q.seqs[i], err = parseSeq("seq_id", point.GetSeqId()); err != nil {
			return q, within(fmt.Sprintf("points[%d]", i), err)
		}
		if i > 0 && q.seqs[i] <= q.seqs[i-1] {
			return q, tidemark.Invalid(fmt.Sprintf("points[%d].seq_id", i), "is %d, not more than that before it", q.seqs[i])
		}
		if n := len(point.GetDigest()); n != len(q.digests[i]) {
			return q, tidemark.Invalid(fmt.Sprintf("points[%d].digest", i), "has %d bytes; it must have %d", n, len(q.digests[i]))
		}
		copy(q.digests[i][:], point.GetDigest())
	}
	q.level, err = parseLevel(req.GetConsistency())
	return q, err
}
