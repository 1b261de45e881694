package tidemark_test

import (
	"errors"
	"strings"
	"testing"

	"tidemark"
)

// Every name is accepted at its limit and refused one past it, with the field and
// the limit in the error.
func TestNamesAtTheirLimits(t *testing.T) {
	kinds := []struct {
		field    string
		limit    int
		validate func(string) error
	}{
		{"timeline", tidemark.MaxTimelineIDBytes, func(s string) error { return tidemark.TimelineID(s).Validate("timeline") }},
		{"message_id", tidemark.MaxMessageIDBytes, func(s string) error { return tidemark.MessageID(s).Validate("message_id") }},
		{"reader", tidemark.MaxReaderIDBytes, func(s string) error { return tidemark.ReaderID(s).Validate("reader") }},
	}
	for _, kind := range kinds {
		t.Run(kind.field, func(t *testing.T) {
			for _, good := range []string{"a", "conv/42", "用户/😀", strings.Repeat("x", kind.limit)} {
				if err := kind.validate(good); err != nil {
					t.Errorf("%q is refused: %v", good, err)
				}
			}
			bad := map[string]string{
				"":                                "must not be empty",
				strings.Repeat("x", kind.limit+1): "limit is",
				"a\x00b":                          "control characters",
				"a\u009b2J":                       "control characters",
				"line\nbreak":                     "control characters",
				"\xff\xfe":                        "UTF-8",
			}
			for value, rule := range bad {
				err := kind.validate(value)
				var invalid *tidemark.InvalidError
				if !errors.As(err, &invalid) || !errors.Is(err, tidemark.ErrInvalid) {
					t.Fatalf("%q: got %v, want an InvalidError", value, err)
				}
				if invalid.Field != kind.field || !strings.Contains(invalid.Rule, rule) {
					t.Errorf("%q: got %q %q, want field %q and a rule about %q", value, invalid.Field, invalid.Rule, kind.field, rule)
				}
			}
		})
	}
}
