package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidemark"
)

func sampleHistory() *History {
	seven := uint64(7)
	return &History{
		Meta: Meta{Name: "x", Seed: 1<<64 - 1, Mix: []string{"kill"}, Nodes: []string{"n1"}, Started: time.Unix(1, 2).UTC()},
		Operations: []Operation{
			{ID: 1, Process: 1, Kind: KindAppend, Via: ViaAtomic, Outcome: Unknown, Invoked: 1, Completed: NeverEnded, Error: "OUTCOME_UNKNOWN",
				Items: []Item{{Timeline: "<&> \u2028", MessageID: "m", Content: 1<<64 - 1, Expected: &seven, SeqID: 1<<64 - 1, Duplicate: true, Digest: "d", ServerTime: -1, Outcome: OK}}},
			{ID: 2, Process: 1 << 40, Kind: KindRead, Level: Session, SessionAt: 9, MaxStaleness: time.Second, Invoked: 2, Completed: 3, Outcome: OK,
				Messages: []Seen{{SeqID: 1, MessageID: "m", Content: 3}}, HeadLast: 1, More: true,
				Acks: []CursorSeen{{Timeline: "t", Reader: "r", Read: 1}}, Cursors: []CursorSeen{{Timeline: "t", Reader: "r", Delivered: 1, Read: 1}}},
		},
		Faults:  []Fault{{Name: "kill", Target: "n1", From: 1, To: NeverHealed}},
		Samples: []Sample{{At: 5, Node: "n1", MemoryBytes: 1 << 40}},
		Logs:    []LogEntry{{Node: "n1", Index: 1, Term: 2, Hash: "h"}},
	}
}

// What is written is what is read, to the last bit.
func TestRoundTrip(t *testing.T) {
	for _, name := range []string{"h.jsonl", "h.jsonl.gz"} {
		path := filepath.Join(t.TempDir(), name)
		want := sampleHistory()
		if err := Write(path, want); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read %+v, %v; want %+v", name, got, err, want)
		}
		zipped, err := os.ReadFile(path)
		if err != nil || strings.HasSuffix(name, ".gz") != bytes.HasPrefix(zipped, []byte{0x1f, 0x8b}) {
			t.Errorf("%s: gzip does not go by the ending (%v)", name, err)
		}
	}
}

// A file that was cut anywhere yields its whole lines and ErrTruncated.
func TestTruncatedFile(t *testing.T) {
	for _, name := range []string{"h.jsonl", "h.jsonl.gz"} {
		path := filepath.Join(t.TempDir(), name)
		if err := Write(path, sampleHistory()); err != nil {
			t.Fatal(err)
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		zipped := strings.HasSuffix(name, ".gz")
		for cut := range len(whole) {
			h, err := read(bytes.NewReader(whole[:cut]), zipped)
			atLineEnd := !zipped && (cut == 0 || whole[cut-1] == '\n')
			if atLineEnd != (err == nil) || err != nil && !errors.Is(err, ErrTruncated) || h == nil {
				t.Fatalf("%s cut at %d: %v, %v", name, cut, h, err)
			}
		}
	}
}

// What is not a history is refused with the number of the line.
func TestBadLines(t *testing.T) {
	for _, text := range []string{"{}\n", "\n", "nonsense\n", `{"operation":{"id":"x"}}` + "\n"} {
		h, err := decode(strings.NewReader(`{"meta":{"seed":1}}` + "\n" + text))
		if h != nil || err == nil || !strings.HasPrefix(err.Error(), "line 2: ") {
			t.Errorf("%q: %v, %v", text, h, err)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// Lines longer than any buffer are read whole.
func TestLongLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.jsonl")
	want := &History{Operations: []Operation{{ID: 1, Kind: KindFinalRead, Outcome: OK}}}
	for i := range uint64(50_000) {
		want.Operations[0].Messages = append(want.Operations[0].Messages, Seen{SeqID: i + 1, MessageID: "some-message", Content: i})
	}
	if err := Write(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%d messages, %v", len(got.Operations[0].Messages), err)
	}
}

// Whatever decodes, encodes to what decodes to the same.
func FuzzRoundTrip(f *testing.F) {
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	h := sampleHistory()
	for _, l := range []line{{Meta: &h.Meta}, {Operation: &h.Operations[0]}, {Operation: &h.Operations[1]}, {Fault: &h.Faults[0]}, {Sample: &h.Samples[0]}, {Log: &h.Logs[0]}} {
		if err := encoder.Encode(l); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(lines.Bytes())
	f.Add([]byte(`{"operation":{"kind":"x","items":[{"expected":0}]}}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		first, err := decode(bytes.NewReader(text))
		if err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "h.jsonl")
		if err := Write(path, first); err != nil {
			t.Skip("not a value that JSON holds: ", err)
		}
		second, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if !equalJSON(t, first, second) {
			t.Errorf("%+v became %+v", first, second)
		}
	})
}

// equalJSON ignores the difference between nil and empty slices, which no reader sees.
func equalJSON(t *testing.T, a, b *History) bool {
	t.Helper()
	left, err1 := json.Marshal(a)
	right, err2 := json.Marshal(b)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(left, right)
}

// The digest helpers agree with the words of the root package.
func TestDigests(t *testing.T) {
	var messages []tidemark.Message
	previous := tidemark.InitialDigest("t")
	for i := range 5 {
		m := tidemark.Message{Draft: tidemark.Draft{Timeline: "t", ID: tidemark.MessageID(rune('a' + i)), Payload: []byte{byte(i)}}, SeqID: tidemark.SeqID(i + 1), ServerTime: tidemark.Time(i)}
		m.Digest = tidemark.NextDigest(previous, m.SeqID, m.ServerTime, m.ID, m.Hash(tidemark.HashPayload(m.Payload)))
		previous = m.Digest
		messages = append(messages, m)
	}
	if bad := FirstBadDigest(tidemark.Digest{}, messages); bad != 0 {
		t.Errorf("a right chain is bad at %d", bad)
	}
	if bad := FirstBadDigest(messages[1].Digest, messages[2:]); bad != 0 {
		t.Errorf("a right page is bad at %d", bad)
	}
	if bad := FirstBadDigest(tidemark.Digest{}, messages[2:]); bad != 3 {
		t.Errorf("a page after another digest is bad at %d; want 3", bad)
	}
	content := ContentOf(&messages[3].Draft)
	messages[3].Payload = []byte("other")
	if bad := FirstBadDigest(tidemark.Digest{}, messages); bad != 4 {
		t.Errorf("a chain with another payload is bad at %d; want 4", bad)
	}
	if ContentOf(&messages[3].Draft) == content {
		t.Error("other content, same ContentOf")
	}
}
