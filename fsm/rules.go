package fsm

import (
	"unicode/utf8"

	"tidemark"
)

// The rules of entry version 1. They decide what a committed command does, so
// they must give the same answer on every replica, in every version of Tidemark,
// as long as a log with such an entry may exist. Therefore they are frozen: they
// call nothing of tidemark's own validation, whose limits may move.
//
// The door (rpc) refuses what breaks tidemark's limits before it is proposed, so
// these rules only ever meet what a fault let through. They answer it with an
// InvalidError, which changes nothing and does not stop a cluster that would
// meet the same entry again after each restart.
const (
	rule1TimelineIDBytes = 256
	rule1MessageIDBytes  = 64
	rule1ReaderIDBytes   = 128
	rule1SenderBytes     = 128
	rule1TypeBytes       = 64
	rule1AttributesBytes = 4 << 10
	rule1PayloadBytes    = 256 << 10

	// Of what came with feature level 3.
	rule3Recipients       = 10_000
	rule3ListedInboxes    = 1000
	rule3RecipientChanges = 1000

	// Of what came with feature level 4.
	rule4TrimMessages = 1000

	// Of what came with feature level 5.
	rule5Policies      = 256
	rule5PolicyReaders = 16

	// Of what came with feature level 6. Nothing else looks whether SeqIDs come to an end.
	rule6ImportSeqID = 1 << 62
)

// What the door lets through, apply accepts. If one of these does not compile, a
// limit of tidemark was raised: that needs a new entry version with rules of its own.
const (
	_ uint = rule1TimelineIDBytes - tidemark.MaxTimelineIDBytes
	_ uint = rule1MessageIDBytes - tidemark.MaxMessageIDBytes
	_ uint = rule1ReaderIDBytes - tidemark.MaxReaderIDBytes
	_ uint = rule1SenderBytes - tidemark.MaxSenderBytes
	_ uint = rule1TypeBytes - tidemark.MaxTypeBytes
	_ uint = rule1AttributesBytes - tidemark.MaxAttributesBytes
	_ uint = rule1PayloadBytes - tidemark.MaxPayloadBytes
	_ uint = rule3Recipients - tidemark.MaxRecipients
	_ uint = rule3ListedInboxes - tidemark.MaxListedInboxes
	_ uint = rule3RecipientChanges - tidemark.MaxRecipientChanges
	_ uint = rule4TrimMessages - tidemark.MaxTrimMessages
	_ uint = rule5Policies - tidemark.MaxPolicies
	_ uint = rule5PolicyReaders - tidemark.MaxPolicyReaders
	_ uint = rule6ImportSeqID - uint(tidemark.MaxImportSeqID)
)

// checkDraft reports the first broken rule. item is where the draft stands in its command.
func checkDraft(d *tidemark.Draft, item place) error {
	if err := checkName(string(d.Timeline), rule1TimelineIDBytes, item, "timeline"); err != nil {
		return err
	}
	if err := checkName(string(d.ID), rule1MessageIDBytes, item, "message_id"); err != nil {
		return err
	}
	if err := checkText(d.Sender, rule1SenderBytes, item, "sender"); err != nil {
		return err
	}
	if err := checkText(d.Type, rule1TypeBytes, item, "type"); err != nil {
		return err
	}
	if len(d.Payload) > rule1PayloadBytes {
		return tooLarge(len(d.Payload), rule1PayloadBytes, item, "payload")
	}
	return checkAttributes(d.Attributes, item)
}

func checkAttributes(attributes tidemark.Attributes, item place) error {
	if size := attributes.Size(); size > rule1AttributesBytes {
		return tooLarge(size, rule1AttributesBytes, item, "attributes")
	}
	for i, attribute := range attributes {
		switch {
		case attribute.Key == "":
			return tidemark.Invalid(item.field("attributes"), "must not have an empty key")
		case i > 0 && attributes[i-1].Key >= attribute.Key:
			return tidemark.Invalid(item.field("attributes"), "keys must be unique and in rising order; %q is not", attribute.Key)
		case !utf8.ValidString(attribute.Key) || !utf8.ValidString(attribute.Value):
			return tidemark.Invalid(item.field("attributes"), "must be valid UTF-8; the value of %q is not", attribute.Key)
		}
	}
	return nil
}

func checkName(name string, limit int, item place, field string) error {
	if name == "" {
		return tidemark.Invalid(item.field(field), "must not be empty; limit is 1 to %d bytes", limit)
	}
	if err := checkText(name, limit, item, field); err != nil {
		return err
	}
	for i := range len(name) {
		if name[i] < 0x20 || name[i] == 0x7f {
			return tidemark.Invalid(item.field(field), "must not contain control characters; byte %d is %#02x", i, name[i])
		}
	}
	return nil
}

func checkText(text string, limit int, item place, field string) error {
	if len(text) > limit {
		return tooLarge(len(text), limit, item, field)
	}
	if !utf8.ValidString(text) {
		return tidemark.Invalid(item.field(field), "must be valid UTF-8")
	}
	return nil
}

func tooLarge(size, limit int, item place, field string) error {
	return tidemark.Invalid(item.field(field), "has %d bytes; limit is %d bytes", size, limit)
}
