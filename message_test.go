package tidemark_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"tidemark"
)

func validDraft() tidemark.Draft {
	return tidemark.Draft{Timeline: "conv/1", ID: "m1", Sender: "alice", Type: "text", Payload: []byte("hi"), ClientTime: tidemark.NoTime}
}

func TestDraftAtItsLimits(t *testing.T) {
	text := func(n int) string { return strings.Repeat("x", n) }
	cases := []struct {
		field string
		set   func(d *tidemark.Draft, size int)
		limit int
	}{
		{"timeline", func(d *tidemark.Draft, n int) { d.Timeline = tidemark.TimelineID(text(n)) }, tidemark.MaxTimelineIDBytes},
		{"message_id", func(d *tidemark.Draft, n int) { d.ID = tidemark.MessageID(text(n)) }, tidemark.MaxMessageIDBytes},
		{"sender", func(d *tidemark.Draft, n int) { d.Sender = text(n) }, tidemark.MaxSenderBytes},
		{"type", func(d *tidemark.Draft, n int) { d.Type = text(n) }, tidemark.MaxTypeBytes},
		{"payload", func(d *tidemark.Draft, n int) { d.Payload = []byte(text(n)) }, tidemark.MaxPayloadBytes},
		{"attributes", func(d *tidemark.Draft, n int) {
			d.Attributes = tidemark.Attributes{{Key: "k", Value: text(n - 1)}}
		}, tidemark.MaxAttributesBytes},
	}
	for _, c := range cases {
		t.Run(c.field, func(t *testing.T) {
			draft := validDraft()
			c.set(&draft, c.limit)
			if err := draft.Validate(""); err != nil {
				t.Errorf("at the limit: %v", err)
			}
			c.set(&draft, c.limit+1)
			var invalid *tidemark.InvalidError
			if err := draft.Validate("items[3]."); !errors.As(err, &invalid) || invalid.Field != "items[3]."+c.field {
				t.Errorf("past the limit: got %v, want an InvalidError for items[3].%s", err, c.field)
			}
		})
	}
}

func TestAttributesAreOrderedAndUnique(t *testing.T) {
	m := map[string]string{"b": "2", "a": "1", "c": ""}
	attributes := tidemark.AttributesFromMap(m)
	if err := attributes.Validate("attributes"); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(attributes.Map(), m) {
		t.Errorf("got %v back, want %v", attributes.Map(), m)
	}
	for name, bad := range map[string]tidemark.Attributes{
		"out of order": {{Key: "b"}, {Key: "a"}},
		"twice":        {{Key: "a"}, {Key: "a"}},
		"empty key":    {{Key: ""}},
		"not UTF-8":    {{Key: "a", Value: "\xff"}},
	} {
		if err := bad.Validate("attributes"); !errors.Is(err, tidemark.ErrInvalid) {
			t.Errorf("%s: got %v, want an InvalidError", name, err)
		}
	}
	if tidemark.AttributesFromMap(nil) != nil || tidemark.Attributes(nil).Map() != nil {
		t.Error("no attributes must stay none")
	}
}

func TestTime(t *testing.T) {
	instant := time.Date(2004, 11, 15, 12, 18, 0, 123456789, time.FixedZone("", 3600))
	got, err := tidemark.TimeOf("client_time", instant)
	if err != nil || !got.Go().Equal(instant) {
		t.Errorf("got %v, %v; want %v back", got.Go(), err, instant)
	}
	if epoch, err := tidemark.TimeOf("client_time", time.Unix(0, 0)); err != nil || epoch != 0 || !epoch.Go().Equal(time.Unix(0, 0)) {
		t.Errorf("1970 must be a time like any other; got %v, %v", epoch, err)
	}
	if none, err := tidemark.TimeOf("client_time", time.Time{}); err != nil || none != tidemark.NoTime || !none.Go().IsZero() {
		t.Errorf("no time must stay none; got %v, %v", none, err)
	}
	for _, edge := range []time.Time{tidemark.MinTime, tidemark.MaxTime} {
		if got, err := tidemark.TimeOf("client_time", edge); err != nil || !got.Go().Equal(edge) {
			t.Errorf("%v: got %v, %v", edge, got.Go(), err)
		}
	}
	for _, bad := range []time.Time{tidemark.MinTime.Add(-1), tidemark.MaxTime.Add(1)} {
		if _, err := tidemark.TimeOf("client_time", bad); !errors.Is(err, tidemark.ErrInvalid) {
			t.Errorf("%v: got %v, want an InvalidError", bad, err)
		}
	}
}

func TestPositionToken(t *testing.T) {
	for _, position := range []tidemark.Position{0, 1, 1 << 40, 1<<64 - 1} {
		got, err := tidemark.ParsePosition("position", position.Token())
		if err != nil || got != position {
			t.Errorf("got %d, %v; want %d", got, err, position)
		}
	}
	if got, err := tidemark.ParsePosition("position", nil); err != nil || got != 0 {
		t.Errorf("an empty token must be position 0; got %d, %v", got, err)
	}
	for _, bad := range [][]byte{{1}, {2, 0, 0, 0, 0, 0, 0, 0, 1}, make([]byte, 10)} {
		if _, err := tidemark.ParsePosition("position", bad); !errors.Is(err, tidemark.ErrInvalid) {
			t.Errorf("%x: got %v, want an InvalidError", bad, err)
		}
	}
}
