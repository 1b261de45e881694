package exchange

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidemark"
)

func message(payload string) *tidemark.Message {
	return &tidemark.Message{
		Draft: tidemark.Draft{
			Timeline:   "conv/1",
			ID:         "m1",
			Sender:     "alice",
			Type:       "text",
			Payload:    []byte(payload),
			Attributes: tidemark.Attributes{{Key: "lang", Value: "en"}, {Key: "z<", Value: "&"}},
			ClientTime: tidemark.Time(1_100_521_080_000_000_000),
		},
		SeqID:      7,
		ServerTime: tidemark.Time(1_700_000_000_000_000_001),
		Digest:     tidemark.Digest{0: 0x83, 15: 0xe5},
	}
}

func TestLines(t *testing.T) {
	const end = `"attributes":{"lang":"en","z<":"&"},"client_time":"2004-11-15T12:18:00Z","seq_id":7,` +
		`"server_time":"2023-11-14T22:13:20.000000001Z","digest":"830000000000000000000000000000e5"}` + "\n"
	const begin = `{"timeline":"conv/1","message_id":"m1","sender":"alice","type":"text",`
	for payload, want := range map[string]string{
		"hello":                `"body":"hello",`,
		"":                     `"body":"",`,
		"tab\tbell\a <&> \x00": `"body":"tab\tbell\u0007 <&> \u0000",`,
		"привет, 世界 🙂\u2028":   `"body":"привет, 世界 🙂\u2028",`,
		"\ufffd":               `"body":"` + "\ufffd" + `",`,
		"\xff\xfe":             `"payload":"//4=",`,
		"\xed\xa0\x80":         `"payload":"7aCA",`,
	} {
		m := message(payload)
		record := FromMessage(m)
		line, err := record.AppendLine(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(line); got != begin+want+end {
			t.Errorf("line of %q:\n%swant\n%s", payload, got, begin+want+end)
		}
		requireRoundTrip(t, m)
	}
}

func requireRoundTrip(t *testing.T, m *tidemark.Message) {
	t.Helper()
	record := FromMessage(m)
	line, err := record.AppendLine(nil)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(line)
	if err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	draft, err := back.Draft()
	if err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	want := m.Draft
	if len(want.Payload) == 0 {
		want.Payload, draft.Payload = nil, nil
	}
	if !reflect.DeepEqual(draft, want) {
		t.Fatalf("%+v came back as %+v from %s", want, draft, line)
	}
}

// Whatever a cluster takes survives an export and an import.
func FuzzRoundTrip(f *testing.F) {
	f.Add("conv/1", "m1", "alice", "text", []byte("hello"), "key", "value", int64(1))
	f.Add("conv/1", "m1", "\x00\u2028", "", []byte{0xff}, "", "", int64(tidemark.NoTime))
	f.Fuzz(func(t *testing.T, timeline, id, sender, kind string, payload []byte, key, value string, clientTime int64) {
		m := message(string(payload))
		m.Timeline, m.ID = tidemark.TimelineID(timeline), tidemark.MessageID(id)
		m.Sender, m.Type = sender, kind
		m.Attributes = nil
		if key != "" {
			m.Attributes = tidemark.Attributes{{Key: key, Value: value}}
		}
		m.ClientTime = tidemark.Time(clientTime)
		if m.ClientTime != tidemark.NoTime {
			if _, err := tidemark.TimeOf("client_time", m.ClientTime.Go()); err != nil {
				t.Skip("not a time that a cluster takes")
			}
		}
		if err := m.Validate(""); err != nil {
			t.Skip("not a message that a cluster takes")
		}
		requireRoundTrip(t, m)
	})
}

// Whatever is decoded is a draft that a cluster takes, or an error.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"timeline":"a","message_id":"b","body":"\ud83d\ude42"}`))
	f.Add([]byte(`{"timeline":"a","message_id":"b","payload":"AA==","client_time":"2004-11-15T12:18:00+01:00"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		record, err := Decode(line)
		if err != nil {
			return
		}
		draft, err := record.Draft()
		if err != nil {
			return
		}
		if err := draft.Validate(""); err != nil {
			t.Fatal(err)
		}
	})
}

func TestBrokenLinesAreRefused(t *testing.T) {
	const good = `{"timeline":"a","message_id":"b","body":"c"}`
	for line, want := range map[string]string{
		`{"timeline":"a","message_id":"b","text":"c"}`: `unknown field "text"`,
		`{"timeline":"a","message_id":"b"`:             "not a whole JSON object",
		`["a"]`:                                        "cannot unmarshal array",
		good + good:                                    "more than one",
		`{"timeline":"a","message_id":"b","body":"\ud800"}`:                                 `\ud800, which is half`,
		`{"timeline":"a","message_id":"b","body":"\ud83dx"}`:                                `\ud83d, which is half`,
		`{"timeline":"a","message_id":"b","body":"\ude42\ud83d"}`:                           `\ude42, which is half`,
		"{\"timeline\":\"a\",\"message_id\":\"b\",\"body\":\"\xff\"}":                       "not UTF-8",
		`{"timeline":"a","message_id":"b","body":"c","payload":"AA=="}`:                     "payload must not be given beside body",
		`{"timeline":"a","message_id":"b","payload":"A"}`:                                   "payload must be base64",
		`{"timeline":"","message_id":"b"}`:                                                  "timeline must not be empty; limit is 1 to 256 bytes",
		`{"timeline":"a","message_id":"` + strings.Repeat("b", 65) + `"}`:                   "message_id has 65 bytes; limit is 64",
		`{"timeline":"a","message_id":"b","client_time":"yesterday"}`:                       "client_time and server_time must be like",
		`{"timeline":"a","message_id":"b","client_time":"1500-01-01T00:00:00Z"}`:            "client_time must be between",
		`{"timeline":"a","message_id":"b","client_time":"0001-01-01T00:00:00Z"}`:            "client_time must not be year 1",
		`{"timeline":"a","message_id":"b","body":"` + strings.Repeat("b", 256<<10+1) + `"}`: "payload has 262145 bytes",
	} {
		reader := NewReader(strings.NewReader(good + "\n\n" + line + "\n" + good))
		if _, at, err := reader.Next(); err != nil || at != 1 {
			t.Fatalf("line 1: %d, %v", at, err)
		}
		_, _, err := reader.Next()
		broken, ok := errors.AsType[*LineError](err)
		if !ok || broken.Line != 3 || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: got %v, want line 3 and %q", line, err, want)
		}
		if _, at, err := reader.Next(); err != nil || at != 4 {
			t.Errorf("the line after a broken one: %d, %v", at, err)
		}
		if _, _, err := reader.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("end: %v", err)
		}
	}
}

func TestSurrogatePairsAndEscapedBackslashesAreText(t *testing.T) {
	record, err := Decode([]byte(`{"timeline":"a","message_id":"b","body":"\ud83d\uDE42 \\ud800 \ufffd"}`))
	if err != nil || *record.Body != "🙂 \\ud800 \ufffd" {
		t.Errorf("got %v, %v", record.Body, err)
	}
}

func TestByteOrderMark(t *testing.T) {
	const line = "\ufeff{\"timeline\":\"a\",\"message_id\":\"b\"}\r\n"
	reader := NewReader(strings.NewReader(line + line))
	if draft, _, err := reader.Next(); err != nil || draft.Timeline != "a" {
		t.Errorf("got %v, %v", draft, err)
	}
	if _, _, err := reader.Next(); err == nil {
		t.Error("a byte order mark was taken in the middle")
	}
}

func TestLongestLine(t *testing.T) {
	long := strings.Repeat("x", MaxLineBytes+1)
	if _, _, err := NewReader(strings.NewReader(long)).Next(); err == nil || !strings.Contains(err.Error(), "line 1: is longer than 4194304 bytes") {
		t.Errorf("got %v", err)
	}
	reader := NewReader(strings.NewReader(long + "\n" + `{"timeline":"a","message_id":"b"}`))
	if _, _, err := reader.Next(); err == nil {
		t.Error("a line that is too long was taken")
	}
	if _, line, err := reader.Next(); line != 2 || err != nil {
		t.Errorf("the line after one that is too long: line %d, %v", line, err)
	}
	m := message(strings.Repeat("\x00", tidemark.MaxPayloadBytes))
	requireRoundTrip(t, m)
	var buffer bytes.Buffer
	w := NewWriter(&buffer)
	if err := errors.Join(w.Write(m), w.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := NewReader(&buffer).Next(); err != nil {
		t.Errorf("the longest message does not come back: %v", err)
	}
}

func TestFiles(t *testing.T) {
	for _, name := range []string{"out.jsonl", "out.jsonl.gz"} {
		path := filepath.Join(t.TempDir(), name)
		w, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there before it is whole: %v", name, err)
		}
		if err := errors.Join(w.Write(message("1")), w.Write(message("2")), w.Close()); err != nil {
			t.Fatal(err)
		}
		r, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"1", "2"} {
			if draft, _, err := r.Next(); err != nil || string(draft.Payload) != want {
				t.Errorf("%s: got %q, %v", name, draft.Payload, err)
			}
		}
		if _, _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: got %v at the end", name, err)
		}
		if r.Size() == 0 || r.BytesRead() != r.Size() {
			t.Errorf("%s: read %d of %d bytes", name, r.BytesRead(), r.Size())
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(filepath.Join(dir, "out.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(message("1")), w.Abort()); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// A cut gzip file is an error, not a shorter file.
func TestCutFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl.gz")
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(message("1")), w.Close()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, whole[:len(whole)-6], 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for err == nil {
		_, _, err = r.Next()
	}
	if errors.Is(err, io.EOF) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}

func TestTimesKeepTheirInstant(t *testing.T) {
	record, err := Decode([]byte(`{"timeline":"a","message_id":"b","client_time":"2004-11-15T13:18:00.000000001+01:00"}`))
	if err != nil {
		t.Fatal(err)
	}
	draft, err := record.Draft()
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2004, 11, 15, 12, 18, 0, 1, time.UTC); !draft.ClientTime.Go().Equal(want) {
		t.Errorf("got %v, want %v", draft.ClientTime.Go(), want)
	}
}
