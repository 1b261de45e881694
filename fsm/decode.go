package fsm

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"tidemark"
)

// entry is a decoded log entry. Commands stay encoded, and share memory with it.
type entry struct {
	leaderTime tidemark.Time
	commands   [][]byte
}

// command is a decoded command. Exactly the field that kind names is set.
// Payloads share memory with the encoded command; names and texts do not, because
// the store keeps those of timelines.
type command struct {
	kind   protowire.Number
	append Append
	batch  AppendBatch
	ack    Ack
	raise  RaiseLevel
	revise Revise
	set    SetRecipients
	trim   Trim
	delete DeleteTimeline
	update UpdateTimeline
	policy SetPolicy
	imp    Import
	forget TrimChanges
}

// decodeEntry decodes the data of a log entry. The commands are appended to
// commands, whose memory is reused.
func decodeEntry(data []byte, commands [][]byte) (e entry, err error) {
	e.commands = commands[:0]
	r := reader{message: "entry", rest: data}
	version, err := r.next()
	if err != nil {
		return e, err
	}
	if version.number != fieldEntryVersion || version.wire != protowire.VarintType {
		return e, fmt.Errorf("%w: entry does not begin with its version", tidemark.ErrCorrupt)
	}
	if version.value != entryVersion {
		return e, fmt.Errorf("%w: entry has version %d, and this build knows only %d", tidemark.ErrNewerFormat, version.value, entryVersion)
	}
	timed := false
	for r.more() {
		f, err := r.next()
		if err != nil {
			return e, err
		}
		switch {
		case f.is(fieldEntryLeaderTime, protowire.Fixed64Type):
			e.leaderTime, timed = tidemark.Time(f.value), true
		case f.is(fieldEntryCommand, protowire.BytesType):
			e.commands = append(e.commands, f.bytes)
			r.repeated()
		default:
			return e, r.unknown(f)
		}
	}
	if !timed {
		return e, fmt.Errorf("%w: entry has no leader time", tidemark.ErrCorrupt)
	}
	return e, nil
}

// decodeCommand decodes one command of an entry into c.
func decodeCommand(data []byte, c *command) error {
	*c = command{}
	r := reader{message: "command", rest: data}
	f, err := r.next()
	if err != nil {
		return err
	}
	if f.wire != protowire.BytesType {
		return r.unknown(f)
	}
	c.kind = f.number
	switch f.number {
	case kindAppend:
		err = decodeAppend(f.bytes, &c.append)
	case kindAppendBatch:
		err = decodeAppendBatch(f.bytes, &c.batch)
	case kindAck:
		err = decodeAck(f.bytes, &c.ack)
	case kindNoop:
		err = decodeNoop(f.bytes)
	case kindRaiseLevel:
		err = decodeRaiseLevel(f.bytes, &c.raise)
	case kindSetRecipients:
		err = decodeSetRecipients(f.bytes, &c.set)
	case kindTrim:
		err = decodeTrim(f.bytes, &c.trim)
	case kindDelete:
		err = decodeDelete(f.bytes, &c.delete)
	case kindUpdate:
		err = decodeUpdate(f.bytes, &c.update)
	case kindSetPolicy:
		err = decodePolicy(f.bytes, &c.policy.Policy)
	case kindImport:
		err = decodeImport(f.bytes, &c.imp)
	case kindRevise:
		err = decodeRevise(f.bytes, &c.revise)
	case kindTrimChanges:
		err = decodeTrimChanges(f.bytes, &c.forget)
	default:
		return fmt.Errorf("%w: command has the unknown kind %d", tidemark.ErrNewerFormat, f.number)
	}
	if err != nil {
		return err
	}
	if r.more() {
		return fmt.Errorf("%w: command has more than one kind", tidemark.ErrCorrupt)
	}
	return nil
}

func decodeAppend(data []byte, a *Append) error {
	d := &a.Draft
	d.ClientTime = tidemark.NoTime
	r := reader{message: "append", rest: data}
	for r.more() {
		f, err := r.next()
		if err != nil {
			return err
		}
		switch {
		case f.is(fieldAppendTimeline, protowire.BytesType):
			d.Timeline = tidemark.TimelineID(f.bytes)
		case f.is(fieldAppendMessageID, protowire.BytesType):
			d.ID = tidemark.MessageID(f.bytes)
		case f.is(fieldAppendSender, protowire.BytesType):
			d.Sender = string(f.bytes)
		case f.is(fieldAppendType, protowire.BytesType):
			d.Type = string(f.bytes)
		case f.is(fieldAppendAttribute, protowire.BytesType):
			attribute, err := decodeAttribute(f.bytes)
			if err != nil {
				return err
			}
			d.Attributes = append(d.Attributes, attribute)
			r.repeated()
		case f.is(fieldAppendClientTime, protowire.Fixed64Type):
			d.ClientTime = tidemark.Time(f.value)
		case f.is(fieldAppendExpected, protowire.VarintType):
			a.Expected = f.seq()
		case f.is(fieldAppendPayload, protowire.BytesType):
			d.Payload = f.bytes
		case f.is(fieldAppendRecipients, protowire.VarintType) && f.value == 1:
			a.FanOut.Recipients = true
		case f.is(fieldAppendInbox, protowire.BytesType):
			a.FanOut.Inboxes = append(a.FanOut.Inboxes, tidemark.TimelineID(f.bytes))
			r.repeated()
		case f.is(fieldAppendAdvance, protowire.VarintType) && f.value == 1:
			a.AdvanceSender = true
		default:
			return r.unknown(f)
		}
	}
	return nil
}

func decodeAttribute(data []byte) (attribute tidemark.Attribute, err error) {
	r := reader{message: "attribute", rest: data}
	for r.more() {
		f, err := r.next()
		if err != nil {
			return attribute, err
		}
		switch {
		case f.is(fieldAttributeKey, protowire.BytesType):
			attribute.Key = string(f.bytes)
		case f.is(fieldAttributeValue, protowire.BytesType):
			attribute.Value = string(f.bytes)
		default:
			return attribute, r.unknown(f)
		}
	}
	return attribute, nil
}

func decodeAppendBatch(data []byte, batch *AppendBatch) error {
	r := reader{message: "append_batch", rest: data}
	for r.more() {
		f, err := r.next()
		if err != nil {
			return err
		}
		if !f.is(fieldBatchItem, protowire.BytesType) {
			return r.unknown(f)
		}
		batch.Items = append(batch.Items, Append{})
		if err := decodeAppend(f.bytes, &batch.Items[len(batch.Items)-1]); err != nil {
			return err
		}
		r.repeated()
	}
	return nil
}

func decodeAck(data []byte, ack *Ack) error {
	r := reader{message: "ack", rest: data}
	for r.more() {
		f, err := r.next()
		if err != nil {
			return err
		}
		switch {
		case f.is(fieldAckReader, protowire.BytesType):
			ack.Reader = tidemark.ReaderID(f.bytes)
		case f.is(fieldAckItem, protowire.BytesType):
			item, err := decodeAckItem(f.bytes)
			if err != nil {
				return err
			}
			ack.Items = append(ack.Items, item)
			r.repeated()
		case f.is(fieldAckRewind, protowire.VarintType) && f.value == 1:
			ack.Rewind = true
		default:
			return r.unknown(f)
		}
	}
	return nil
}

func decodeAckItem(data []byte) (item AckItem, err error) {
	r := reader{message: "ack_item", rest: data}
	for r.more() {
		f, err := r.next()
		if err != nil {
			return item, err
		}
		switch {
		case f.is(fieldAckItemTimeline, protowire.BytesType):
			item.Timeline = tidemark.TimelineID(f.bytes)
		case f.is(fieldAckItemDelivered, protowire.VarintType):
			item.Delivered = f.seq()
		case f.is(fieldAckItemRead, protowire.VarintType):
			item.Read = f.seq()
		case f.is(fieldAckItemFloor, protowire.VarintType):
			item.Floor = f.seq()
		default:
			return item, r.unknown(f)
		}
	}
	return item, nil
}

func decodeRaiseLevel(data []byte, raise *RaiseLevel) error {
	r := reader{message: "raise_level", rest: data}
	for r.more() {
		f, err := r.next()
		if err != nil {
			return err
		}
		if !f.is(fieldRaiseLevelLevel, protowire.VarintType) || f.value > math.MaxUint32 {
			return r.unknown(f)
		}
		raise.Level = uint32(f.value)
	}
	return nil
}

func decodeRevise(data []byte, c *Revise) error {
	c.Draft.ClientTime = tidemark.NoTime
	r := reader{message: "revise", rest: data}
	for r.more() {
		f, err := r.next()
		if err != nil {
			return err
		}
		switch {
		case f.is(fieldReviseDraft, protowire.BytesType):
			var a Append
			if err := decodeAppend(f.bytes, &a); err != nil {
				return err
			}
			if a.Expected != nil || !a.FanOut.None() || a.AdvanceSender || a.Draft.ClientTime != tidemark.NoTime {
				return fmt.Errorf("%w: revise has a draft with more than its content", tidemark.ErrCorrupt)
			}
			c.Draft = a.Draft
		case f.is(fieldReviseTarget, protowire.VarintType):
			c.SeqID = tidemark.SeqID(f.value)
		case f.is(fieldReviseExpected, protowire.VarintType):
			c.Expected = (*uint64)(f.seq())
		case f.is(fieldReviseRedact, protowire.VarintType) && f.value == 1:
			c.Redact = true
		default:
			return r.unknown(f)
		}
	}
	return nil
}

func decodeNoop(data []byte) error {
	r := reader{message: "noop", rest: data}
	if !r.more() {
		return nil
	}
	f, err := r.next()
	if err != nil {
		return err
	}
	return r.unknown(f)
}
