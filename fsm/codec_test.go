package fsm

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tidemark"
	"tidemark/fsm/fsmpb"
)

func seq(n uint64) *tidemark.SeqID {
	s := tidemark.SeqID(n)
	return &s
}

var (
	fullAppend = Append{
		Draft: tidemark.Draft{
			Timeline:   "conv/42",
			ID:         "0190-a",
			Sender:     "alice#phone",
			Type:       "text/plain",
			Payload:    []byte("Grüße\x00\xff"),
			Attributes: tidemark.Attributes{{Key: "lang", Value: "de"}, {Key: "reply-to", Value: ""}},
			ClientTime: 1_700_000_000_123_456_789,
		},
		Expected: seq(300),
	}
	leastAppend = Append{Draft: tidemark.Draft{Timeline: "t", ID: "m", ClientTime: tidemark.NoTime}}
	zeroAppend  = Append{Draft: tidemark.Draft{Timeline: "t", ID: "m", ClientTime: -1}, Expected: seq(0)}
	someAck     = Ack{Reader: "bob", Items: []AckItem{
		{Timeline: "conv/1", Delivered: seq(7), Read: seq(0)},
		{Timeline: "conv/2", Read: seq(1 << 40)},
		{Timeline: "conv/3"},
	}}
	fannedAppend = Append{
		Draft:         tidemark.Draft{Timeline: "conv/7", ID: "m", Sender: "alice", ClientTime: tidemark.NoTime},
		FanOut:        tidemark.FanOut{Recipients: true, Inboxes: []tidemark.TimelineID{"inbox/b", "inbox/a"}},
		AdvanceSender: true,
	}
	someRewind = Ack{Reader: "bob#phone", Items: []AckItem{{Timeline: "conv/1", Delivered: seq(0), Floor: seq(9)}}, Rewind: true}
	someLevel  = RaiseLevel{Level: 3}
	someSet    = SetRecipients{Timeline: "conv/7", Change: tidemark.RecipientChange{Replace: true, Add: []tidemark.TimelineID{"inbox/a", "inbox/b"}}}
	someChange = SetRecipients{Timeline: "conv/7", Change: tidemark.RecipientChange{
		Add: []tidemark.TimelineID{"inbox/c"}, Remove: []tidemark.TimelineID{"inbox/a", "inbox/d"}, ExpectedVersion: new(uint64),
	}}
	someTrim   = Trim{Timeline: "conv/7", First: 300}
	someUpdate = UpdateTimeline{Timeline: "conv/7", Set: tidemark.Attributes{{Key: "topic", Value: "tides"}, {Key: "z", Value: ""}}, Remove: []string{"a", "b"}}
	somePolicy = SetPolicy{tidemark.Policy{
		Prefix: "conv/", MaxAge: 90 * 24 * time.Hour, MaxMessages: 10_000, MaxBytes: 1 << 20, AckedByAll: true, AckedBy: []tidemark.ReaderID{"b", "a"}, KeepAtLeast: 5,
	}}
	someImport = Import{Timeline: "conv/7", First: 300, Previous: tidemark.Digest{1, 15: 2}, Items: []ImportItem{
		{Draft: tidemark.Draft{ID: "a", Sender: "alice", Payload: []byte("x"), ClientTime: tidemark.NoTime}, ServerTime: 1_700_000_000_000_000_001},
		{Draft: tidemark.Draft{ID: "b", ClientTime: 5}, ServerTime: 1_700_000_000_000_000_001, Digest: tidemark.Digest{3, 15: 4}},
	}}
	someEdit = Revise{Draft: tidemark.Draft{
		Timeline: "conv/7", ID: "edit-1", Sender: "alice#phone", Type: "text", Attributes: tidemark.Attributes{{Key: "lang", Value: "en"}}, Payload: []byte("x"), ClientTime: tidemark.NoTime,
	}, SeqID: 300, Expected: revisionNumber(0)}
	someRecall = Revise{Draft: tidemark.Draft{Timeline: "conv/7", ID: "recall-1", ClientTime: tidemark.NoTime}, SeqID: 301, Expected: revisionNumber(2), Redact: true}
	someForget = TrimChanges{First: 300}
	goldenTime = time.Unix(1_800_000_000, 5)
)

// golden names every command that there is, in testdata/v1. These bytes are in
// logs and are read by every later version: a test that fails here is never mended
// by new bytes, only by a new entry version beside this one.
var golden = []struct {
	name    string
	encoded []byte
	command command
}{
	{"append", fullAppend.Encode(), command{kind: kindAppend, append: fullAppend}},
	{"append-least", leastAppend.Encode(), command{kind: kindAppend, append: leastAppend}},
	{"append-zero", zeroAppend.Encode(), command{kind: kindAppend, append: zeroAppend}},
	{"append-batch", AppendBatch{Items: []Append{leastAppend, fullAppend}}.Encode(),
		command{kind: kindAppendBatch, batch: AppendBatch{Items: []Append{leastAppend, fullAppend}}}},
	{"ack", someAck.Encode(), command{kind: kindAck, ack: someAck}},
	{"noop", Noop{}.Encode(), command{kind: kindNoop}},
	{"append-fan-out", fannedAppend.Encode(), command{kind: kindAppend, append: fannedAppend}},
	{"ack-rewind", someRewind.Encode(), command{kind: kindAck, ack: someRewind}},
	{"raise-level", someLevel.Encode(), command{kind: kindRaiseLevel, raise: someLevel}},
	{"set-recipients", someSet.Encode(), command{kind: kindSetRecipients, set: someSet}},
	{"trim", someTrim.Encode(), command{kind: kindTrim, trim: someTrim}},
	{"delete-timeline", DeleteTimeline{Timeline: "conv/7"}.Encode(), command{kind: kindDelete, delete: DeleteTimeline{Timeline: "conv/7"}}},
	{"delete-timeline-expected", DeleteTimeline{"conv/7", seq(0)}.Encode(), command{kind: kindDelete, delete: DeleteTimeline{"conv/7", seq(0)}}},
	{"update-timeline", someUpdate.Encode(), command{kind: kindUpdate, update: someUpdate}},
	{"set-policy", somePolicy.Encode(), command{kind: kindSetPolicy, policy: somePolicy}},
	{"import", someImport.Encode(), command{kind: kindImport, imp: someImport}},
	{"revise-edit", someEdit.Encode(), command{kind: kindRevise, revise: someEdit}},
	{"revise-redact", someRecall.Encode(), command{kind: kindRevise, revise: someRecall}},
	{"trim-changes", someForget.Encode(), command{kind: kindTrimChanges, forget: someForget}},
	{"set-recipients-change", someChange.Encode(), command{kind: kindSetRecipients, set: someChange}},
}

func revisionNumber(number uint64) *uint64 { return &number }

func readGolden(t *testing.T, name string, encoded []byte) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "v1", name+".hex"))
	if err != nil {
		t.Fatalf("%v; this build encodes it as\n%s", err, wrapHex(encoded))
	}
	data, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func wrapHex(data []byte) string {
	text := hex.EncodeToString(data)
	var lines strings.Builder
	for len(text) > 64 {
		lines.WriteString(text[:64] + "\n")
		text = text[64:]
	}
	return lines.String() + text + "\n"
}

func TestGoldenCommands(t *testing.T) {
	for _, g := range golden {
		data := readGolden(t, g.name, g.encoded)
		if !bytes.Equal(g.encoded, data) {
			t.Errorf("%s: encoded as\n%swant\n%s", g.name, wrapHex(g.encoded), wrapHex(data))
		}
		var decoded command
		if err := decodeCommand(data, &decoded); err != nil {
			t.Errorf("%s: %v", g.name, err)
		}
		if !reflect.DeepEqual(decoded, g.command) {
			t.Errorf("%s: decoded as %+v, want %+v", g.name, decoded, g.command)
		}
	}
}

func TestGoldenEntry(t *testing.T) {
	commands := [][]byte{fullAppend.Encode(), Noop{}.Encode(), someAck.Encode()}
	encoded := EncodeEntry(goldenTime, commands)
	data := readGolden(t, "entry", encoded)
	if !bytes.Equal(encoded, data) {
		t.Errorf("encoded as\n%swant\n%s", wrapHex(encoded), wrapHex(data))
	}
	decoded, err := decodeEntry(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := entry{leaderTime: tidemark.Time(goldenTime.UnixNano()), commands: commands}
	if !reflect.DeepEqual(decoded, want) {
		t.Errorf("decoded as %+v, want %+v", decoded, want)
	}
}

// The codec is written by hand; the code generated from command.proto says whether
// it writes what the definition says.
func TestEncodingIsThatOfTheDefinition(t *testing.T) {
	for _, g := range golden {
		var message fsmpb.Command
		checkCanonical(t, g.name, g.encoded, &message)
	}
	var message fsmpb.Entry
	checkCanonical(t, "entry", EncodeEntry(goldenTime, [][]byte{{}, Noop{}.Encode()}), &message)
}

func checkCanonical(t *testing.T, name string, encoded []byte, message proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(encoded, message); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	again, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if !bytes.Equal(again, encoded) {
		t.Errorf("%s: the generated code encodes it as\n%swe as\n%s", name, wrapHex(again), wrapHex(encoded))
	}
}

func TestEncodeEntryKeepsTimesInRange(t *testing.T) {
	for _, c := range []struct{ in, want time.Time }{
		{goldenTime, goldenTime},
		{time.Time{}, tidemark.MinTime},
		{tidemark.MaxTime.AddDate(100, 0, 0), tidemark.MaxTime},
	} {
		decoded, err := decodeEntry(EncodeEntry(c.in, nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := decoded.leaderTime.Go(); !got.Equal(c.want) {
			t.Errorf("%v became %v, want %v", c.in, got, c.want)
		}
	}
}

// Every message of command.proto, wherever it stands, must be refused with a field
// that this build does not know: a replica that leaves one out differs from one
// that does not. The messages are taken from the definition, so a new one is in here.
func TestUnknownFieldsAreRefusedInEveryMessage(t *testing.T) {
	seen := make(map[protoreflect.FullName]bool)
	for _, g := range golden {
		var message fsmpb.Command
		if err := proto.Unmarshal(g.encoded, &message); err != nil {
			t.Fatal(err)
		}
		visitMessages(message.ProtoReflect(), func(m protoreflect.Message) {
			name := m.Descriptor().FullName()
			m.SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
			data, err := proto.MarshalOptions{Deterministic: true}.Marshal(&message)
			if err != nil {
				t.Fatal(err)
			}
			var decoded command
			if err := decodeCommand(data, &decoded); err == nil {
				t.Errorf("%s: an unknown field in %s was accepted", g.name, name)
			}
			m.SetUnknown(nil)
			seen[name] = true
		})
	}
	messages := fsmpb.File_fsm_fsmpb_command_proto.Messages()
	for i := range messages.Len() {
		if name := messages.Get(i).FullName(); !seen[name] && name != "tidemark.fsm.v1.Entry" {
			t.Errorf("%s is in no golden command", name)
		}
	}
}

func visitMessages(m protoreflect.Message, visit func(protoreflect.Message)) {
	visit(m)
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				visitMessages(v.List().Get(i).Message(), visit)
			}
		case f.Message() != nil:
			visitMessages(v.Message(), visit)
		}
		return true
	})
}

func TestRefusedEncodings(t *testing.T) {
	for _, c := range []struct {
		name, data string
		is         error
		says       string
	}{
		{"empty entry", "", tidemark.ErrCorrupt, "entry cannot be decoded"},
		{"no version", "110000000000000000", tidemark.ErrCorrupt, "does not begin with its version"},
		{"version 0", "0800110000000000000000", tidemark.ErrNewerFormat, "entry has version 0, and this build knows only 1"},
		{"version 2", "0802ffffffff", tidemark.ErrNewerFormat, "entry has version 2, and this build knows only 1"},
		{"no time", "0801", tidemark.ErrCorrupt, "has no leader time"},
		{"cut time", "080111000000", tidemark.ErrCorrupt, "entry cannot be decoded"},
		{"time as varint", "08011001", tidemark.ErrNewerFormat, "entry has the unknown field 2 of wire type 0"},
		{"version twice", "08010801110000000000000000", tidemark.ErrCorrupt, "field 1 of entry stands twice or out of order"},
		{"command before time", "08011a00110000000000000000", tidemark.ErrCorrupt, "field 2 of entry stands twice or out of order"},
		{"field 4", "08011100000000000000002001", tidemark.ErrNewerFormat, "entry has the unknown field 4 of wire type 0"},
		{"command longer than the entry", "0801110000000000000000" + "1a05aa", tidemark.ErrCorrupt, "entry cannot be decoded"},
	} {
		data, err := hex.DecodeString(c.data)
		if err != nil {
			t.Fatal(err)
		}
		_, err = decodeEntry(data, nil)
		checkRefused(t, c.name, err, c.is, c.says)
	}
	for _, c := range []struct {
		name, data string
		is         error
		says       string
	}{
		{"empty command", "", tidemark.ErrCorrupt, "command cannot be decoded"},
		{"kind 15", "7a00", tidemark.ErrNewerFormat, "command has the unknown kind 15"},
		{"kind as varint", "0801", tidemark.ErrNewerFormat, "command has the unknown field 1 of wire type 0"},
		{"two kinds", "22002a00", tidemark.ErrCorrupt, "command has more than one kind"},
		{"noop with a field", "22020801", tidemark.ErrNewerFormat, "noop has the unknown field 1 of wire type 0"},
		{"timeline twice", "0a060a01610a0162", tidemark.ErrCorrupt, "field 1 of append stands twice or out of order"},
		{"group", "0b0c", tidemark.ErrNewerFormat, "command has the unknown field 1 of wire type 3"},
		{"end of group", "0c", tidemark.ErrCorrupt, "command cannot be decoded"},
		{"field number 0", "0200", tidemark.ErrCorrupt, "command cannot be decoded"},
	} {
		data, err := hex.DecodeString(c.data)
		if err != nil {
			t.Fatal(err)
		}
		checkRefused(t, c.name, decodeCommand(data, new(command)), c.is, c.says)
	}
}

func checkRefused(t *testing.T, name string, err, is error, says string) {
	t.Helper()
	if !errors.Is(err, is) || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: got %v, want %v that says %q", name, err, is, says)
	}
}
