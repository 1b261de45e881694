// Package exchange is the import and export format: one JSON object a line, as
// docs/format.md describes it. Every message survives the way out and back in
// unchanged; what would not is refused, never bent.
//
// It imports nothing of the module but the words of the root package.
package exchange

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"tidemark"
)

// MaxLineBytes bounds one line. The largest message, with every byte written as
// a six-byte JSON escape, needs less than half of it.
const MaxLineBytes = 4 << 20

const _ uint = MaxLineBytes - 2*6*(tidemark.MaxPayloadBytes+tidemark.MaxAttributesBytes+tidemark.MaxSenderBytes)

// Record is one line. An empty optional field is left out.
type Record struct {
	Timeline  string `json:"timeline"`
	MessageID string `json:"message_id"`
	Sender    string `json:"sender"`
	Type      string `json:"type"`
	// Body is the payload as text; nil if Payload holds it.
	Body *string `json:"body,omitempty"`
	// Payload is the payload in base64, for bytes that are not UTF-8.
	Payload    []byte            `json:"payload,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	// ClientTime is in RFC 3339, with up to nanoseconds.
	ClientTime *time.Time `json:"client_time,omitempty"`
	// SeqID, ServerTime and Digest (hexadecimal) are what the cluster gave to the
	// message. An import ignores them.
	SeqID      uint64     `json:"seq_id,omitempty"`
	ServerTime *time.Time `json:"server_time,omitempty"`
	Digest     string     `json:"digest,omitempty"`
	// PreviousDigest is that before the message, on the first one of a timeline that was trimmed.
	PreviousDigest string `json:"previous_digest,omitempty"`
	// Source is the message that an entry of an inbox refers to. An import leaves such
	// entries out.
	Source *Source `json:"source,omitempty"`
	// Revision says that the message was revised. An import takes it as it is now, and leaves
	// it out if it was redacted.
	Revision *Revision `json:"revision,omitempty"`
	// Revises is what a revision entry says. An import leaves such entries out.
	Revises *Revises `json:"revises,omitempty"`
}

// Revision is that of a message that was edited or redacted.
type Revision struct {
	Revision uint64    `json:"revision"`
	Time     time.Time `json:"time"`
	SeqID    uint64    `json:"seq_id"`
	Redacted bool      `json:"redacted,omitempty"`
	// OriginalContentHash is in hexadecimal.
	OriginalContentHash string `json:"original_content_hash"`
}

// Revises says which message an entry revises.
type Revises struct {
	SeqID    uint64 `json:"seq_id"`
	Revision uint64 `json:"revision"`
	Redacted bool   `json:"redacted,omitempty"`
	// ContentHash is in hexadecimal.
	ContentHash string `json:"content_hash"`
	Superseded  bool   `json:"superseded,omitempty"`
	Gone        bool   `json:"gone,omitempty"`
}

// skipped reports whether an import leaves the record out: what it would say stands in
// another line, or is gone.
func (r *Record) skipped() bool {
	return r.Source != nil || r.Revises != nil || r.Revision != nil && r.Revision.Redacted
}

// Source is a message of another timeline.
type Source struct {
	Timeline string `json:"timeline"`
	SeqID    uint64 `json:"seq_id"`
	// Gone says that the message was trimmed or deleted.
	Gone bool `json:"gone,omitempty"`
}

// FromMessage returns the record of a message.
func FromMessage(m *tidemark.Message) Record {
	r := Record{
		Timeline:   string(m.Timeline),
		MessageID:  string(m.ID),
		Sender:     m.Sender,
		Type:       m.Type,
		Attributes: m.Attributes.Map(),
		SeqID:      uint64(m.SeqID),
		ServerTime: timePointer(m.ServerTime),
		ClientTime: timePointer(m.ClientTime),
		Digest:     m.Digest.String(),
	}
	if m.Source != nil {
		r.Source = &Source{string(m.Source.Timeline), uint64(m.Source.SeqID), m.Source.Gone}
	}
	if v := m.Revision; v != nil {
		r.Revision = &Revision{v.Number, v.Time.Go(), uint64(v.SeqID), v.Redacted, hex.EncodeToString(v.Original[:])}
	}
	if v := m.Revises; v != nil {
		r.Revises = &Revises{uint64(v.SeqID), v.Number, v.Redacted, hex.EncodeToString(v.Content[:]), v.Superseded, v.Gone}
	}
	if utf8.Valid(m.Payload) {
		body := string(m.Payload)
		r.Body = &body
	} else {
		r.Payload = m.Payload
	}
	return r
}

func timePointer(t tidemark.Time) *time.Time {
	if t == tidemark.NoTime {
		return nil
	}
	at := t.Go()
	return &at
}

// Draft returns the message that the record asks to append. It reports a
// *tidemark.InvalidError for a record that no cluster would take.
func (r *Record) Draft() (tidemark.Draft, error) {
	draft := tidemark.Draft{
		Timeline:   tidemark.TimelineID(r.Timeline),
		ID:         tidemark.MessageID(r.MessageID),
		Sender:     r.Sender,
		Type:       r.Type,
		Payload:    r.Payload,
		Attributes: tidemark.AttributesFromMap(r.Attributes),
		ClientTime: tidemark.NoTime,
	}
	if r.Body != nil {
		if r.Payload != nil {
			return draft, tidemark.Invalid("payload", "must not be given beside body")
		}
		draft.Payload = []byte(*r.Body)
	}
	if r.ClientTime != nil {
		if r.ClientTime.IsZero() {
			return draft, tidemark.Invalid("client_time", "must not be year 1; leave it out if it is not known")
		}
		at, err := tidemark.TimeOf("client_time", *r.ClientTime)
		if err != nil {
			return draft, err
		}
		draft.ClientTime = at
	}
	return draft, draft.Validate("")
}

// AppendLine appends the record and a line feed to b.
func (r *Record) AppendLine(b []byte) ([]byte, error) {
	buffer := bytes.NewBuffer(b)
	encoder := json.NewEncoder(buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(r); err != nil {
		return b, fmt.Errorf("encode message %s of %s: %w", r.MessageID, r.Timeline, err)
	}
	return buffer.Bytes(), nil
}

// Decode reads one line. It refuses unknown fields, so that a misspelt one is not
// an empty one, and text that Go's decoder would silently replace: bytes that
// are not UTF-8 and escapes of half a surrogate pair.
func Decode(line []byte) (Record, error) {
	var r Record
	if !utf8.Valid(line) {
		return r, errors.New("is not UTF-8")
	}
	if err := checkSurrogates(line); err != nil {
		return r, err
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return r, errors.New("is not a whole JSON object")
		}
		if _, bad := errors.AsType[base64.CorruptInputError](err); bad {
			return r, errors.New("payload must be base64, with its padding")
		}
		if _, bad := errors.AsType[*time.ParseError](err); bad {
			return r, fmt.Errorf("client_time and server_time must be like 2006-01-02T15:04:05Z: %w", err)
		}
		return r, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return r, errors.New("holds more than one JSON object")
	}
	return r, nil
}
