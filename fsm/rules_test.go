package fsm

import (
	"errors"
	"strings"
	"testing"

	"tidemark"
)

// The rules at their edges. Each line is a promise to every log that is out there:
// the answer to a command of entry version 1 never changes.
func TestRules(t *testing.T) {
	attributes := func(pairs ...string) (a tidemark.Attributes) {
		for i := 0; i < len(pairs); i += 2 {
			a = append(a, tidemark.Attribute{Key: pairs[i], Value: pairs[i+1]})
		}
		return a
	}
	many := strings.Repeat
	for _, c := range []struct {
		name   string
		change func(*tidemark.Draft)
		want   string // the error, or nothing
	}{
		{"least", func(d *tidemark.Draft) {}, ""},
		{"timeline empty", func(d *tidemark.Draft) { d.Timeline = "" }, "items[3].timeline must not be empty; limit is 1 to 256 bytes"},
		{"timeline 256", func(d *tidemark.Draft) { d.Timeline = tidemark.TimelineID(many("t", 256)) }, ""},
		{"timeline 257", func(d *tidemark.Draft) { d.Timeline = tidemark.TimelineID(many("t", 257)) }, "items[3].timeline has 257 bytes; limit is 256 bytes"},
		{"timeline control", func(d *tidemark.Draft) { d.Timeline = "é\n" }, "items[3].timeline must not contain control characters; byte 2 is 0x0a"},
		{"timeline delete", func(d *tidemark.Draft) { d.Timeline = "\x7f" }, "items[3].timeline must not contain control characters; byte 0 is 0x7f"},
		{"timeline C1 control is text", func(d *tidemark.Draft) { d.Timeline = "\u0085" }, ""},
		{"timeline not UTF-8", func(d *tidemark.Draft) { d.Timeline = "\xff" }, "items[3].timeline must be valid UTF-8"},
		{"message id empty", func(d *tidemark.Draft) { d.ID = "" }, "items[3].message_id must not be empty; limit is 1 to 64 bytes"},
		{"message id 64", func(d *tidemark.Draft) { d.ID = tidemark.MessageID(many("m", 64)) }, ""},
		{"message id 65", func(d *tidemark.Draft) { d.ID = tidemark.MessageID(many("m", 65)) }, "items[3].message_id has 65 bytes; limit is 64 bytes"},
		{"sender 128 with controls", func(d *tidemark.Draft) { d.Sender = many("\n", 128) }, ""},
		{"sender 129", func(d *tidemark.Draft) { d.Sender = many("s", 129) }, "items[3].sender has 129 bytes; limit is 128 bytes"},
		{"sender not UTF-8", func(d *tidemark.Draft) { d.Sender = "\xc3" }, "items[3].sender must be valid UTF-8"},
		{"type 64", func(d *tidemark.Draft) { d.Type = many("t", 64) }, ""},
		{"type 65", func(d *tidemark.Draft) { d.Type = many("t", 65) }, "items[3].type has 65 bytes; limit is 64 bytes"},
		{"payload 256 KiB", func(d *tidemark.Draft) { d.Payload = make([]byte, 256<<10) }, ""},
		{"payload 256 KiB + 1", func(d *tidemark.Draft) { d.Payload = make([]byte, 256<<10+1) }, "items[3].payload has 262145 bytes; limit is 262144 bytes"},
		{"attributes 4 KiB", func(d *tidemark.Draft) { d.Attributes = attributes("k", many("v", 4095)) }, ""},
		{"attributes 4 KiB + 1", func(d *tidemark.Draft) { d.Attributes = attributes("k", many("v", 4096)) }, "items[3].attributes has 4097 bytes; limit is 4096 bytes"},
		{"attributes empty key", func(d *tidemark.Draft) { d.Attributes = attributes("", "v") }, "items[3].attributes must not have an empty key"},
		{"attributes twice", func(d *tidemark.Draft) { d.Attributes = attributes("k", "1", "k", "2") }, `items[3].attributes keys must be unique and in rising order; "k" is not`},
		{"attributes falling", func(d *tidemark.Draft) { d.Attributes = attributes("l", "", "k", "") }, `items[3].attributes keys must be unique and in rising order; "k" is not`},
		{"attributes not UTF-8", func(d *tidemark.Draft) { d.Attributes = attributes("k", "\xff") }, `items[3].attributes must be valid UTF-8; the value of "k" is not`},
	} {
		draft := tidemark.Draft{Timeline: "t", ID: "m"}
		c.change(&draft)
		err := checkDraft(&draft, 3)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err == nil || err.Error() != c.want || !errors.Is(err, tidemark.ErrInvalid) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

// Whatever the door lets through, apply must accept: a client that was told yes by
// validation must not be told no by apply. And both say it in the same words.
func FuzzRulesAcceptWhatTheDoorDoes(f *testing.F) {
	f.Add("conv/1", "m1", "alice", "text", "k", "v", "l", "w", 12)
	f.Add("", "\x00", "\xff", strings.Repeat("t", 65), "l", "v", "k", "w", 256<<10+1)
	f.Fuzz(func(t *testing.T, timeline, id, sender, kind, key1, value1, key2, value2 string, payload int) {
		draft := tidemark.Draft{
			Timeline: tidemark.TimelineID(timeline), ID: tidemark.MessageID(id), Sender: sender, Type: kind,
			Payload:    make([]byte, max(0, payload)%(300<<10)),
			Attributes: tidemark.Attributes{{Key: key1, Value: value1}, {Key: key2, Value: value2}},
		}
		for _, item := range []place{whole, 17} {
			prefix := ""
			if item != whole {
				prefix = "items[17]."
			}
			door, rules := draft.Validate(prefix), checkDraft(&draft, item)
			if door == nil && rules != nil {
				t.Fatalf("the door accepts %+v, but apply says %v", draft, rules)
			}
			if door != nil && rules != nil && door.Error() != rules.Error() {
				t.Fatalf("the door says %q, but apply says %q", door, rules)
			}
		}
	})
}
