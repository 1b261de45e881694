package fsm

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"tidemark"
)

// entryVersion is the version of the entries that EncodeEntry makes. It names
// the set of rules that an entry is applied by: see rules.go and DESIGN.md.
const entryVersion = 1

// Field numbers of fsmpb/command.proto.
const (
	fieldEntryVersion    = 1
	fieldEntryLeaderTime = 2
	fieldEntryCommand    = 3

	kindAppend      = 1
	kindAppendBatch = 2
	kindAck         = 3
	kindNoop        = 4
	kindRaiseLevel  = 5

	kindSetRecipients = 6
	kindTrim          = 7
	kindDelete        = 8
	kindUpdate        = 9
	kindSetPolicy     = 10
	kindImport        = 11
	kindRevise        = 12
	kindTrimChanges   = 14

	fieldAppendTimeline   = 1
	fieldAppendMessageID  = 2
	fieldAppendSender     = 3
	fieldAppendType       = 4
	fieldAppendAttribute  = 5
	fieldAppendClientTime = 6
	fieldAppendExpected   = 7
	fieldAppendPayload    = 8
	fieldAppendRecipients = 9
	fieldAppendInbox      = 10
	fieldAppendAdvance    = 11

	fieldAttributeKey   = 1
	fieldAttributeValue = 2

	fieldBatchItem = 1

	fieldAckReader = 1
	fieldAckItem   = 2
	fieldAckRewind = 3

	fieldAckItemTimeline  = 1
	fieldAckItemDelivered = 2
	fieldAckItemRead      = 3
	fieldAckItemFloor     = 4

	fieldRaiseLevelLevel = 1

	fieldSetRecipientsTimeline = 1
	fieldSetRecipientsReplace  = 2
	fieldSetRecipientsAdd      = 3
	fieldSetRecipientsRemove   = 4
	fieldSetRecipientsExpected = 5

	fieldTrimTimeline = 1
	fieldTrimFirst    = 2

	fieldDeleteTimeline = 1
	fieldDeleteExpected = 2

	fieldUpdateTimeline = 1
	fieldUpdateSet      = 2
	fieldUpdateRemove   = 3

	fieldPolicyPrefix      = 1
	fieldPolicyMaxAge      = 2
	fieldPolicyMaxMessages = 3
	fieldPolicyMaxBytes    = 4
	fieldPolicyAckedByAll  = 5
	fieldPolicyAckedBy     = 6
	fieldPolicyKeep        = 7

	fieldImportTimeline = 1
	fieldImportFirst    = 2
	fieldImportPrevious = 3
	fieldImportItem     = 4

	fieldReviseDraft    = 1
	fieldReviseTarget   = 2
	fieldReviseExpected = 3
	fieldReviseRedact   = 4

	fieldImportItemDraft      = 1
	fieldImportItemServerTime = 2
	fieldImportItemDigest     = 3

	fieldTrimChangesFirst = 1
)

// EncodeEntry returns the data of a log entry that applies the encoded commands
// in order. leaderTime is the proposing leader's clock; a time that the database
// cannot hold is brought to tidemark.MinTime or MaxTime.
func EncodeEntry(leaderTime time.Time, commands [][]byte) []byte {
	size := 2 + 9
	for _, command := range commands {
		size += 1 + protowire.SizeBytes(len(command))
	}
	b := make([]byte, 0, size)
	b = protowire.AppendTag(b, fieldEntryVersion, protowire.VarintType)
	b = protowire.AppendVarint(b, entryVersion)
	b = protowire.AppendTag(b, fieldEntryLeaderTime, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, uint64(clampTime(leaderTime)))
	for _, command := range commands {
		b = appendBytes(b, fieldEntryCommand, command)
	}
	return b
}

func clampTime(t time.Time) tidemark.Time {
	switch {
	case t.Before(tidemark.MinTime):
		t = tidemark.MinTime
	case t.After(tidemark.MaxTime):
		t = tidemark.MaxTime
	}
	return tidemark.Time(t.UnixNano())
}

// Encode returns the command for EncodeEntry.
func (a Append) Encode() []byte {
	return wrap(kindAppend, appendAppend(make([]byte, 0, a.sizeHint()), &a))
}

// Encode returns the command for EncodeEntry.
func (c AppendBatch) Encode() []byte {
	size := 0
	for i := range c.Items {
		size += c.Items[i].sizeHint() + 8
	}
	b := make([]byte, 0, size)
	for i := range c.Items {
		item := appendAppend(make([]byte, 0, c.Items[i].sizeHint()), &c.Items[i])
		b = appendBytes(b, fieldBatchItem, item)
	}
	return wrap(kindAppendBatch, b)
}

// Encode returns the command for EncodeEntry.
func (c Ack) Encode() []byte {
	b := appendText(nil, fieldAckReader, string(c.Reader))
	for _, item := range c.Items {
		body := appendText(nil, fieldAckItemTimeline, string(item.Timeline))
		body = appendSeq(body, fieldAckItemDelivered, item.Delivered)
		body = appendSeq(body, fieldAckItemRead, item.Read)
		body = appendSeq(body, fieldAckItemFloor, item.Floor)
		b = appendBytes(b, fieldAckItem, body)
	}
	return wrap(kindAck, appendTrue(b, fieldAckRewind, c.Rewind))
}

// Encode returns the command for EncodeEntry.
func (Noop) Encode() []byte { return wrap(kindNoop, nil) }

// Encode returns the command for EncodeEntry.
func (c RaiseLevel) Encode() []byte {
	b := protowire.AppendTag(nil, fieldRaiseLevelLevel, protowire.VarintType)
	return wrap(kindRaiseLevel, protowire.AppendVarint(b, uint64(c.Level)))
}

// Encode returns the command for EncodeEntry.
func (c SetRecipients) Encode() []byte {
	b := appendText(nil, fieldSetRecipientsTimeline, string(c.Timeline))
	b = appendTrue(b, fieldSetRecipientsReplace, c.Change.Replace)
	for _, inbox := range c.Change.Add {
		b = appendText(b, fieldSetRecipientsAdd, string(inbox))
	}
	for _, inbox := range c.Change.Remove {
		b = appendText(b, fieldSetRecipientsRemove, string(inbox))
	}
	return wrap(kindSetRecipients, appendSeq(b, fieldSetRecipientsExpected, (*tidemark.SeqID)(c.Change.ExpectedVersion)))
}

// Encode returns the command for EncodeEntry.
func (c Trim) Encode() []byte {
	return wrap(kindTrim, appendSeq(appendText(nil, fieldTrimTimeline, string(c.Timeline)), fieldTrimFirst, &c.First))
}

// Encode returns the command for EncodeEntry.
func (c DeleteTimeline) Encode() []byte {
	return wrap(kindDelete, appendSeq(appendText(nil, fieldDeleteTimeline, string(c.Timeline)), fieldDeleteExpected, c.Expected))
}

// Encode returns the command for EncodeEntry.
func (c UpdateTimeline) Encode() []byte {
	b := encodeAttributes(appendText(nil, fieldUpdateTimeline, string(c.Timeline)), fieldUpdateSet, c.Set)
	for _, key := range c.Remove {
		b = appendText(b, fieldUpdateRemove, key)
	}
	return wrap(kindUpdate, b)
}

// Encode returns the command for EncodeEntry.
func (c SetPolicy) Encode() []byte {
	p := &c.Policy
	b := appendText(nil, fieldPolicyPrefix, p.Prefix)
	b = appendNumber(b, fieldPolicyMaxAge, uint64(p.MaxAge))
	b = appendNumber(b, fieldPolicyMaxMessages, p.MaxMessages)
	b = appendNumber(b, fieldPolicyMaxBytes, p.MaxBytes)
	b = appendTrue(b, fieldPolicyAckedByAll, p.AckedByAll)
	for _, reader := range p.AckedBy {
		b = appendText(b, fieldPolicyAckedBy, string(reader))
	}
	return wrap(kindSetPolicy, appendNumber(b, fieldPolicyKeep, p.KeepAtLeast))
}

// Encode returns the command for EncodeEntry.
func (c Import) Encode() []byte {
	b := appendText(nil, fieldImportTimeline, string(c.Timeline))
	b = appendNumber(b, fieldImportFirst, uint64(c.First))
	if c.Previous != (tidemark.Digest{}) {
		b = appendBytes(b, fieldImportPrevious, c.Previous[:])
	}
	for i := range c.Items {
		item := &c.Items[i]
		draft := appendAppend(nil, &Append{Draft: item.Draft})
		body := appendBytes(nil, fieldImportItemDraft, draft)
		body = protowire.AppendTag(body, fieldImportItemServerTime, protowire.Fixed64Type)
		body = protowire.AppendFixed64(body, uint64(item.ServerTime))
		if item.Digest != (tidemark.Digest{}) {
			body = appendBytes(body, fieldImportItemDigest, item.Digest[:])
		}
		b = appendBytes(b, fieldImportItem, body)
	}
	return wrap(kindImport, b)
}

// Encode returns the command for EncodeEntry.
func (c Revise) Encode() []byte {
	draft := Append{Draft: c.Draft}
	size := draft.sizeHint()
	b := make([]byte, 0, size+32)
	b = appendBytes(b, fieldReviseDraft, appendAppend(make([]byte, 0, size), &draft))
	b = appendNumber(b, fieldReviseTarget, uint64(c.SeqID))
	b = appendSeq(b, fieldReviseExpected, (*tidemark.SeqID)(c.Expected))
	return wrap(kindRevise, appendTrue(b, fieldReviseRedact, c.Redact))
}

// Encode returns the command for EncodeEntry.
func (c TrimChanges) Encode() []byte {
	return wrap(kindTrimChanges, appendNumber(nil, fieldTrimChangesFirst, c.First))
}

// appendNumber appends the field, or nothing if it is 0.
func appendNumber(b []byte, field protowire.Number, n uint64) []byte {
	if n == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
}

// sizeHint is at least the size of the encoded body.
func (a *Append) sizeHint() int {
	size := a.Draft.Size() + len(a.Draft.Timeline) + 64 + 16*len(a.Draft.Attributes)
	for _, inbox := range a.FanOut.Inboxes {
		size += len(inbox) + 8
	}
	return size
}

func wrap(kind protowire.Number, body []byte) []byte {
	return appendBytes(make([]byte, 0, 1+protowire.SizeBytes(len(body))), kind, body)
}

func appendAppend(b []byte, a *Append) []byte {
	d := &a.Draft
	b = appendText(b, fieldAppendTimeline, string(d.Timeline))
	b = appendText(b, fieldAppendMessageID, string(d.ID))
	b = appendText(b, fieldAppendSender, d.Sender)
	b = appendText(b, fieldAppendType, d.Type)
	b = encodeAttributes(b, fieldAppendAttribute, d.Attributes)
	if d.ClientTime != tidemark.NoTime {
		b = protowire.AppendTag(b, fieldAppendClientTime, protowire.Fixed64Type)
		b = protowire.AppendFixed64(b, uint64(d.ClientTime))
	}
	b = appendSeq(b, fieldAppendExpected, a.Expected)
	if len(d.Payload) > 0 {
		b = appendBytes(b, fieldAppendPayload, d.Payload)
	}
	b = appendTrue(b, fieldAppendRecipients, a.FanOut.Recipients)
	for _, inbox := range a.FanOut.Inboxes {
		b = appendText(b, fieldAppendInbox, string(inbox))
	}
	return appendTrue(b, fieldAppendAdvance, a.AdvanceSender)
}

func encodeAttributes(b []byte, field protowire.Number, attributes tidemark.Attributes) []byte {
	for _, attribute := range attributes {
		body := appendText(nil, fieldAttributeKey, attribute.Key)
		body = appendText(body, fieldAttributeValue, attribute.Value)
		b = appendBytes(b, field, body)
	}
	return b
}

// appendTrue appends the field, or nothing if it is false.
func appendTrue(b []byte, field protowire.Number, value bool) []byte {
	if !value {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), 1)
}

func appendBytes(b []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), value)
}

// appendText appends the field, or nothing if the text is empty.
func appendText(b []byte, field protowire.Number, text string) []byte {
	if text == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), text)
}

// appendSeq appends the field, or nothing if seq is nil.
func appendSeq(b []byte, field protowire.Number, seq *tidemark.SeqID) []byte {
	if seq == nil {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(*seq))
}
