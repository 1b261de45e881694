package tidemark

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// TimelineID names a timeline: 1 to MaxTimelineIDBytes bytes of UTF-8 without
// control characters. "/" separates parts by convention: conv/42, inbox/alice.
type TimelineID string

// MessageID is the name that a client gives to a message, unique within its
// timeline: 1 to MaxMessageIDBytes bytes of UTF-8 without control characters. An
// append with a message id that the timeline already holds is a retry, never a
// second message.
type MessageID string

// ReaderID names whoever acknowledges: a user, or a device as user#device. It is
// 1 to MaxReaderIDBytes bytes of UTF-8 without control characters.
type ReaderID string

// User is the part of the name before the first "#", which devices of one user share;
// the whole name if there is none, or nothing before it.
func (id ReaderID) User() string { return UserOf(string(id)) }

// UserOf is the user of a reader or a sender, which are named alike.
func UserOf(name string) string {
	if user, _, _ := strings.Cut(name, "#"); user != "" {
		return user
	}
	return name
}

// SeqID is the place of a message in its timeline: 1, 2, 3, … without gaps.
// Zero stands for "before the first message".
type SeqID uint64

// Validate reports an *InvalidError that names field unless the id is valid.
func (id TimelineID) Validate(field string) error {
	return validateName(field, string(id), MaxTimelineIDBytes)
}

// Validate reports an *InvalidError that names field unless the id is valid.
func (id ReaderID) Validate(field string) error {
	return validateName(field, string(id), MaxReaderIDBytes)
}

// Validate reports an *InvalidError that names field unless the id is valid.
func (id MessageID) Validate(field string) error {
	return validateName(field, string(id), MaxMessageIDBytes)
}

func validateName(field, name string, limit int) error {
	if name == "" {
		return Invalid(field, "must not be empty; limit is 1 to %d bytes", limit)
	}
	if err := validateSize(field, len(name), limit); err != nil {
		return err
	}
	if !utf8.ValidString(name) {
		return Invalid(field, "must be valid UTF-8")
	}
	for i, r := range name {
		if unicode.IsControl(r) {
			return Invalid(field, "must not contain control characters; byte %d is %#02x", i, r)
		}
	}
	return nil
}

func validateSize(field string, size, limit int) error {
	if size > limit {
		return Invalid(field, "has %d bytes; limit is %d bytes", size, limit)
	}
	return nil
}

// String renders the SeqID in decimal.
func (s SeqID) String() string { return fmt.Sprintf("%d", uint64(s)) }
