package tidemark

import (
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Draft is a message as its sender hands it in: all that the sender decides.
// Equal drafts under one message id are one message, see ContentHash.
type Draft struct {
	Timeline TimelineID
	ID       MessageID
	// Sender is at most MaxSenderBytes of UTF-8, or empty.
	Sender string
	// Type tells readers how to understand Payload: at most MaxTypeBytes of
	// UTF-8, or empty.
	Type string
	// Payload is at most MaxPayloadBytes of any value, or empty.
	Payload []byte
	// Attributes are ordered by key and hold each key once.
	Attributes Attributes
	// ClientTime is when the sender says that it sent, or NoTime.
	ClientTime Time
}

// Message is a Draft with the place and time that the cluster gave to it.
type Message struct {
	Draft
	SeqID SeqID
	// ServerTime is the leader's clock when it proposed the message, never less
	// than that of the message before it in the timeline.
	ServerTime Time
	// Digest closes the chain over all messages of the timeline up to this one.
	Digest Digest
	// Source is nil, or, for an entry of an inbox, the message that it refers to. All of
	// Draft but the Timeline is the source's then; all but the Timeline and the ID is empty
	// if the source is gone.
	Source *Source
	// Revision is nil for a message that is as it was appended. Of an entry of an inbox it
	// is the source's.
	Revision *Revision
	// Revises is nil, or, for a revision entry, what it says. Of an entry of an inbox it is
	// the source's.
	Revises *Revises
}

// Size is what the message counts against byte limits and heads: the bytes of
// its variable fields, without encoding overhead.
func (d *Draft) Size() int {
	return len(d.ID) + len(d.Sender) + len(d.Type) + len(d.Payload) + d.Attributes.Size()
}

// Validate reports the first broken rule as an *InvalidError. Field names are
// those of the API, after prefix (such as "items[3].", or nothing).
func (d *Draft) Validate(prefix string) error {
	if err := d.Timeline.Validate(prefix + "timeline"); err != nil {
		return err
	}
	if err := d.ID.Validate(prefix + "message_id"); err != nil {
		return err
	}
	if err := validateText(prefix+"sender", d.Sender, MaxSenderBytes); err != nil {
		return err
	}
	if err := validateText(prefix+"type", d.Type, MaxTypeBytes); err != nil {
		return err
	}
	if err := validateSize(prefix+"payload", len(d.Payload), MaxPayloadBytes); err != nil {
		return err
	}
	return d.Attributes.Validate(prefix + "attributes")
}

func validateText(field, text string, limit int) error {
	if err := validateSize(field, len(text), limit); err != nil {
		return err
	}
	if !utf8.ValidString(text) {
		return Invalid(field, "must be valid UTF-8")
	}
	return nil
}

// Attribute is one named text beside a payload.
type Attribute struct{ Key, Value string }

// Attributes are ordered by key, and hold each key once.
type Attributes []Attribute

// AttributesFromMap orders m by key.
func AttributesFromMap(m map[string]string) Attributes {
	if len(m) == 0 {
		return nil
	}
	attributes := make(Attributes, 0, len(m))
	for key, value := range m {
		attributes = append(attributes, Attribute{key, value})
	}
	slices.SortFunc(attributes, func(a, b Attribute) int { return strings.Compare(a.Key, b.Key) })
	return attributes
}

// Map is the inverse of AttributesFromMap; nil for none.
func (a Attributes) Map() map[string]string {
	if len(a) == 0 {
		return nil
	}
	m := make(map[string]string, len(a))
	for _, attribute := range a {
		m[attribute.Key] = attribute.Value
	}
	return m
}

// Size is the sum of the bytes of all keys and values.
func (a Attributes) Size() int {
	size := 0
	for _, attribute := range a {
		size += len(attribute.Key) + len(attribute.Value)
	}
	return size
}

// Validate reports an *InvalidError unless all keys are non-empty, in strictly
// rising order, all text is UTF-8, and the size is at most MaxAttributesBytes.
func (a Attributes) Validate(field string) error {
	if err := validateSize(field, a.Size(), MaxAttributesBytes); err != nil {
		return err
	}
	for i, attribute := range a {
		switch {
		case attribute.Key == "":
			return Invalid(field, "must not have an empty key")
		case i > 0 && a[i-1].Key >= attribute.Key:
			return Invalid(field, "keys must be unique and in rising order; %q is not", attribute.Key)
		case !utf8.ValidString(attribute.Key) || !utf8.ValidString(attribute.Value):
			return Invalid(field, "must be valid UTF-8; the value of %q is not", attribute.Key)
		}
	}
	return nil
}

// Time is an instant in nanoseconds since 1970-01-01 UTC. It is what the
// database stores: it has no zone and no monotonic part, so that equal times
// have equal bytes. NoTime stands for "not given".
type Time int64

// NoTime is the Time that was not given. It is not a valid instant, so that
// 1970-01-01T00:00:00Z stays one. The zero value of Time is that instant, not
// NoTime: Draft documents ClientTime's absent value as NoTime.
const NoTime Time = math.MinInt64

// MinTime and MaxTime bound what a Time can say: the years 1678 to 2261.
var (
	MinTime = time.Date(1678, 1, 1, 0, 0, 0, 0, time.UTC)
	MaxTime = time.Date(2261, 12, 31, 23, 59, 59, 0, time.UTC)
)

// TimeOf turns t into a Time; the zero time.Time becomes NoTime. It reports an
// *InvalidError that names field if t is before MinTime or after MaxTime.
func TimeOf(field string, t time.Time) (Time, error) {
	if t.IsZero() {
		return NoTime, nil
	}
	if t.Before(MinTime) || t.After(MaxTime) {
		return NoTime, Invalid(field, "must be between %s and %s", MinTime.Format(time.RFC3339), MaxTime.Format(time.RFC3339))
	}
	return Time(t.UnixNano()), nil
}

// Go renders the instant as a time.Time in UTC; NoTime becomes the zero time.Time.
func (t Time) Go() time.Time {
	if t == NoTime {
		return time.Time{}
	}
	return time.Unix(0, int64(t)).UTC()
}
