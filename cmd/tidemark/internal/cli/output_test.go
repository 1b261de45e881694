package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
	"tidemark/rpc/tidemarkv1"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)

// printed returns what f prints in the format.
func printed(t *testing.T, format string, f func(*app) error) string {
	t.Helper()
	var out bytes.Buffer
	a := &app{Streams: Streams{Out: &out}, global: globalFlags{output: format}}
	if err := f(a); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestCursorsAreShown(t *testing.T) {
	print := func(a *app) error {
		return a.printCursors([]client.Cursor{
			{Timeline: "conv/1", Reader: "bob", Delivered: 3, Read: 2, Floor: 2, Last: 5, UpdatedTime: at, Unread: 1, UnreadKnown: true},
			{Timeline: "conv/\x1b[2J", Reader: "eve", Last: 5},
		})
	}
	for format, want := range map[string]string{
		outputTable: `TIMELINE      READER  DELIVERED  READ  FLOOR  LAST  UNREAD  UPDATED
conv/1        bob     3          2     2      5     1       2026-01-02T03:04:05.678Z
conv/\x1b[2J  eve     0          0     0      5             -
`,
		outputJSONLines: `{"timeline":"conv/1","reader":"bob","delivered_seq_id":3,"read_seq_id":2,"last_seq_id":5,"floor_seq_id":2,"unread":1,"updated_at":"2026-01-02T03:04:05.678Z"}
{"timeline":"conv/\u001b[2J","reader":"eve","delivered_seq_id":0,"read_seq_id":0,"last_seq_id":5}
`,
		outputJSON: `[
  {
    "timeline": "conv/1",
    "reader": "bob",
    "delivered_seq_id": 3,
    "read_seq_id": 2,
    "last_seq_id": 5,
    "floor_seq_id": 2,
    "unread": 1,
    "updated_at": "2026-01-02T03:04:05.678Z"
  },
  {
    "timeline": "conv/\u001b[2J",
    "reader": "eve",
    "delivered_seq_id": 0,
    "read_seq_id": 0,
    "last_seq_id": 5
  }
]
`,
	} {
		if got := printed(t, format, print); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", format, got, want)
		}
	}
}

func TestTimelinesAreShown(t *testing.T) {
	print := func(a *app) error {
		return a.printTimelines([]client.Timeline{{
			ID: "conv/1", First: 1, Last: 2, Count: 2, Bytes: 1536, CreatedTime: at, LastTime: at, Digest: tidemark.Digest{0: 0xab},
		}})
	}
	for format, want := range map[string]string{
		outputTable: `TIMELINE  FIRST  LAST  COUNT  BYTES    LAST TIME                 DIGEST
conv/1    1      2     2      1.5 KiB  2026-01-02T03:04:05.678Z  ab000000000000000000000000000000
`,
		outputJSONLines: `{"timeline":"conv/1","first_seq_id":1,"last_seq_id":2,"count":2,"bytes":1536,` +
			`"created_at":"2026-01-02T03:04:05.678Z","last_server_time":"2026-01-02T03:04:05.678Z","digest":"ab000000000000000000000000000000"}` + "\n",
	} {
		if got := printed(t, format, print); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", format, got, want)
		}
	}
	none := func(a *app) error { return a.printTimelines(nil) }
	if got := printed(t, outputJSON, none); got != "[]\n" {
		t.Errorf("no timelines: %s", got)
	}
}

func TestMessagesAreStreamed(t *testing.T) {
	messages := []client.Message{
		{Draft: client.Draft{Timeline: "conv/1", ID: "m1", Sender: "alice", Type: "text", Payload: []byte("a\nb")}, SeqID: 1, ServerTime: at},
		{Draft: client.Draft{Timeline: "conv/1", ID: "m2", Payload: []byte{0xff}}, SeqID: 2, ServerTime: at},
	}
	stream := func(n int) func(*app) error {
		return func(a *app) error {
			p := newMessagePrinter(a)
			for i := range messages[:n] {
				if err := p.print(&messages[i]); err != nil {
					return err
				}
			}
			return p.close()
		}
	}
	if got, want := printed(t, outputTable, stream(2)), `SEQ  SERVER TIME               SENDER  TYPE  MESSAGE ID  PAYLOAD
1    2026-01-02T03:04:05.678Z  alice   text  m1          a\nb
2    2026-01-02T03:04:05.678Z                m2          (1 bytes)
`; got != want {
		t.Errorf("table:\n%s\nwant\n%s", got, want)
	}
	if got := printed(t, outputJSONLines, stream(2)); strings.Count(got, "\n") != 2 || !strings.Contains(got, `"payload":"/w=="`) {
		t.Errorf("jsonl:\n%s", got)
	}
	for n, want := range []string{"[]\n", "[\n{\n", "}\n,\n{\n"} {
		if got := printed(t, outputJSON, stream(n)); !strings.Contains(got, want) {
			t.Errorf("json of %d messages:\n%s", n, got)
		}
	}
}

func TestByteText(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 40: "1.0 TiB", 1<<64 - 1: "16.0 EiB"} {
		if got := byteText(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

// Errors go to standard error, with what to do next, and never with status 0.
func TestRunTellsErrors(t *testing.T) {
	for _, test := range []struct {
		args   []string
		status int
		say    string
	}{
		{[]string{"nonsense"}, exit.Usage, "tidemark help"},
		{[]string{"get", "conv/1"}, exit.Usage, "seq"},
		{[]string{"ack", "conv/1", "--read", "1"}, exit.Usage, "reader"},
		{[]string{"read", "conv/1", "--from", "1", "--newest"}, exit.Usage, "newest"},
		{[]string{"check", "--data-dir", "/nonexistent"}, exit.Failed, "/nonexistent"},
		{[]string{"read", "conv/1", "--consistency", "eventual"}, exit.Usage, "--consistency must be"},
		{[]string{"read", "conv/1", "--position", "AA=="}, exit.Usage, "--position goes with"},
		{[]string{"append", "conv/1", "x", "--attribute", "x"}, exit.Usage, "KEY=VALUE"},
		{[]string{"append", "conv/1", "x", "--client-time", "now"}, exit.Usage, "--client-time"},
		{[]string{"ack", "conv/1", "--reader", "r"}, exit.Usage, "--delivered, --read or --floor"},
		{[]string{"cursors", "--reader", "r", "--count"}, exit.Usage, "go with --timeline"},
		{[]string{"dev", "--nodes", "0"}, exit.Usage, "--nodes must be 1 to 99"},
		{[]string{"recover", "--data-dir", "x"}, exit.Usage, "--peers"},
		{[]string{"import", "x", "--in-flight", "-5"}, exit.Usage, "--in-flight must be 1 to"},
		{[]string{"backup", "-"}, exit.Usage, "to a file"},
		{[]string{"status", "--endpoints", "localhost"}, exit.Usage, "--endpoints must be HOST:PORT"},
		{[]string{"status", "--endpoints", "localhost:99999"}, exit.Usage, "--endpoints must be HOST:PORT"},
		{[]string{"status", "--endpoints", ""}, exit.Usage, "--endpoints must"},
		{[]string{"completion", "nonsense"}, exit.Usage, "nonsense"},
		{[]string{"help", "nonsense"}, exit.Usage, "nonsense"},
		{[]string{"append", "conv/1", "x", "--endpoints", "127.0.0.1:1", "--timeout", "1s"}, exit.Failed, "last attempt: 127.0.0.1:1: not connected"},
	} {
		var out, errs bytes.Buffer
		status := Run(context.Background(), test.args, Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, "test")
		if status != test.status || !strings.Contains(errs.String(), test.say) || out.Len() > 0 {
			t.Errorf("%v: status %d\n%s%s", test.args, status, out.String(), errs.String())
		}
	}
}

func TestMembersAreShown(t *testing.T) {
	members := []*tidemarkv1.Member{{NodeId: "n1"}, {NodeId: "n2"}}
	print := func(a *app) error { return a.printMembers(members) }
	if lines := strings.Split(printed(t, outputJSONLines, print), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[1], `{"node_id":"n2"`) {
		t.Errorf("not one member a line: %q", lines)
	}
	if whole := printed(t, outputJSON, print); !strings.HasPrefix(whole, "{\n  \"members\": [") {
		t.Errorf("got %s", whole)
	}
}

func TestVersion(t *testing.T) {
	var out bytes.Buffer
	if status := Run(context.Background(), []string{"version", "-o", "jsonl"}, Streams{Out: &out, Err: &out}, "v1.2.3"); status != exit.OK || !strings.Contains(out.String(), `"version":"v1.2.3"`) {
		t.Errorf("status %d: %s", status, out.String())
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		var out bytes.Buffer
		if status := Run(context.Background(), []string{"completion", shell}, Streams{Out: &out, Err: &out}, "test"); status != exit.OK || !strings.Contains(out.String(), "tidemark") {
			t.Errorf("%s: status %d", shell, status)
		}
	}
}
