package fsm

import (
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"tidemark"
)

// This file holds the decoding of the commands that administer timelines: recipients, trims,
// deletions, updates, retention policies, imports, and trims of the change feed.

func decodeSetRecipients(data []byte, set *SetRecipients) error {
	r := reader{message: "set_recipients", rest: data}
	for r.more() {
		f, err := r.next()
		if err != nil {
			return err
		}
		switch {
		case f.is(fieldSetRecipientsTimeline, protowire.BytesType):
			set.Timeline = tidemark.TimelineID(f.bytes)
		case f.is(fieldSetRecipientsReplace, protowire.VarintType) && f.value == 1:
			set.Change.Replace = true
		case f.is(fieldSetRecipientsAdd, protowire.BytesType):
			set.Change.Add = append(set.Change.Add, tidemark.TimelineID(f.bytes))
			r.repeated()
		case f.is(fieldSetRecipientsRemove, protowire.BytesType):
			set.Change.Remove = append(set.Change.Remove, tidemark.TimelineID(f.bytes))
			r.repeated()
		case f.is(fieldSetRecipientsExpected, protowire.VarintType):
			set.Change.ExpectedVersion = (*uint64)(f.seq())
		default:
			return r.unknown(f)
		}
	}
	return nil
}

func decodeTrim(data []byte, trim *Trim) error {
	r := reader{message: "trim", rest: data}
	for r.more() {
		f, err := r.next()
		if err != nil {
			return err
		}
		switch {
		case f.is(fieldTrimTimeline, protowire.BytesType):
			trim.Timeline = tidemark.TimelineID(f.bytes)
		case f.is(fieldTrimFirst, protowire.VarintType):
			trim.First = tidemark.SeqID(f.value)
		default:
			return r.unknown(f)
		}
	}
	return nil
}

func decodeDelete(data []byte, c *DeleteTimeline) error {
	r := reader{message: "delete_timeline", rest: data}
	for r.more() {
		f, err := r.next()
		if err != nil {
			return err
		}
		switch {
		case f.is(fieldDeleteTimeline, protowire.BytesType):
			c.Timeline = tidemark.TimelineID(f.bytes)
		case f.is(fieldDeleteExpected, protowire.VarintType):
			c.Expected = f.seq()
		default:
			return r.unknown(f)
		}
	}
	return nil
}

func decodeUpdate(data []byte, c *UpdateTimeline) error {
	r := reader{message: "update_timeline", rest: data}
	for r.more() {
		f, err := r.next()
		if err != nil {
			return err
		}
		switch {
		case f.is(fieldUpdateTimeline, protowire.BytesType):
			c.Timeline = tidemark.TimelineID(f.bytes)
		case f.is(fieldUpdateSet, protowire.BytesType):
			attribute, err := decodeAttribute(f.bytes)
			if err != nil {
				return err
			}
			c.Set = append(c.Set, attribute)
			r.repeated()
		case f.is(fieldUpdateRemove, protowire.BytesType):
			c.Remove = append(c.Remove, string(f.bytes))
			r.repeated()
		default:
			return r.unknown(f)
		}
	}
	return nil
}

func decodePolicy(data []byte, p *tidemark.Policy) error {
	r := reader{message: "set_policy", rest: data}
	for r.more() {
		f, err := r.next()
		if err != nil {
			return err
		}
		switch {
		case f.is(fieldPolicyPrefix, protowire.BytesType):
			p.Prefix = string(f.bytes)
		case f.is(fieldPolicyMaxAge, protowire.VarintType) && f.value <= math.MaxInt64:
			p.MaxAge = time.Duration(f.value)
		case f.is(fieldPolicyMaxMessages, protowire.VarintType):
			p.MaxMessages = f.value
		case f.is(fieldPolicyMaxBytes, protowire.VarintType):
			p.MaxBytes = f.value
		case f.is(fieldPolicyAckedByAll, protowire.VarintType) && f.value == 1:
			p.AckedByAll = true
		case f.is(fieldPolicyAckedBy, protowire.BytesType):
			p.AckedBy = append(p.AckedBy, tidemark.ReaderID(f.bytes))
			r.repeated()
		case f.is(fieldPolicyKeep, protowire.VarintType):
			p.KeepAtLeast = f.value
		default:
			return r.unknown(f)
		}
	}
	return nil
}

func decodeImport(data []byte, c *Import) error {
	r := reader{message: "import", rest: data}
	for r.more() {
		f, err := r.next()
		if err != nil {
			return err
		}
		switch {
		case f.is(fieldImportTimeline, protowire.BytesType):
			c.Timeline = tidemark.TimelineID(f.bytes)
		case f.is(fieldImportFirst, protowire.VarintType):
			c.First = tidemark.SeqID(f.value)
		case f.is(fieldImportPrevious, protowire.BytesType) && len(f.bytes) == len(c.Previous):
			copy(c.Previous[:], f.bytes)
		case f.is(fieldImportItem, protowire.BytesType):
			item, err := decodeImportItem(f.bytes)
			if err != nil {
				return err
			}
			c.Items = append(c.Items, item)
			r.repeated()
		default:
			return r.unknown(f)
		}
	}
	return nil
}

func decodeImportItem(data []byte) (item ImportItem, err error) {
	r := reader{message: "import_item", rest: data}
	for r.more() {
		f, err := r.next()
		if err != nil {
			return item, err
		}
		switch {
		case f.is(fieldImportItemDraft, protowire.BytesType):
			var a Append
			if err := decodeAppend(f.bytes, &a); err != nil {
				return item, err
			}
			item.Draft = a.Draft
		case f.is(fieldImportItemServerTime, protowire.Fixed64Type):
			item.ServerTime = tidemark.Time(f.value)
		case f.is(fieldImportItemDigest, protowire.BytesType) && len(f.bytes) == len(item.Digest):
			copy(item.Digest[:], f.bytes)
		default:
			return item, r.unknown(f)
		}
	}
	return item, nil
}

func decodeTrimChanges(data []byte, c *TrimChanges) error {
	r := reader{message: "trim_changes", rest: data}
	for r.more() {
		f, err := r.next()
		if err != nil {
			return err
		}
		if !f.is(fieldTrimChangesFirst, protowire.VarintType) || f.value == 0 {
			return r.unknown(f)
		}
		c.First = f.value
	}
	return nil
}
