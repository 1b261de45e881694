package fsm

import (
	"bytes"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tidemark"
	"tidemark/fsm/fsmpb"
	"tidemark/internal/crashfs"
)

// What the codec accepts, the generated code accepts without a field left over; and
// what the generated code would write, the codec accepts.
func FuzzDecodeCommand(f *testing.F) {
	for _, g := range golden {
		f.Add(g.encoded)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var decoded command
		err := decodeCommand(data, &decoded)
		var message fsmpb.Command
		generatedErr := proto.Unmarshal(data, &message)
		if err == nil {
			if generatedErr != nil {
				t.Fatalf("accepted %x, but generated code says %v", data, generatedErr)
			}
			visitMessages(message.ProtoReflect(), func(m protoreflect.Message) {
				if len(m.GetUnknown()) > 0 {
					t.Fatalf("accepted %x, but %s has unknown fields %x", data, m.Descriptor().FullName(), m.GetUnknown())
				}
			})
			var again command
			if err := decodeCommand(reencode(&decoded), &again); err != nil || !equalCommands(&decoded, &again) {
				t.Fatalf("%x became %+v, and after encoding again %+v, %v", data, decoded, again, err)
			}
			return
		}
		if generatedErr != nil || message.Kind == nil {
			return
		}
		visitMessages(message.ProtoReflect(), func(m protoreflect.Message) { m.SetUnknown(nil) })
		canonical, marshalErr := proto.MarshalOptions{Deterministic: true}.Marshal(&message)
		if marshalErr != nil {
			t.Fatal(marshalErr)
		}
		if err := decodeCommand(canonical, &decoded); err != nil {
			t.Fatalf("generated code writes %x, but it is refused: %v", canonical, err)
		}
	})
}

func reencode(c *command) []byte {
	switch c.kind {
	case kindAppend:
		return c.append.Encode()
	case kindAppendBatch:
		return c.batch.Encode()
	case kindAck:
		return c.ack.Encode()
	case kindRaiseLevel:
		return c.raise.Encode()
	case kindSetRecipients:
		return c.set.Encode()
	case kindTrim:
		return c.trim.Encode()
	case kindDelete:
		return c.delete.Encode()
	case kindUpdate:
		return c.update.Encode()
	case kindSetPolicy:
		return c.policy.Encode()
	case kindImport:
		return c.imp.Encode()
	case kindRevise:
		return c.revise.Encode()
	case kindTrimChanges:
		return c.forget.Encode()
	default:
		return Noop{}.Encode()
	}
}

// equalCommands takes an empty payload for none.
func equalCommands(a, b *command) bool {
	for _, c := range []*command{a, b} {
		for _, draft := range []*tidemark.Draft{&c.append.Draft, &c.revise.Draft} {
			if len(draft.Payload) == 0 {
				draft.Payload = nil
			}
		}
		for i := range c.batch.Items {
			if len(c.batch.Items[i].Draft.Payload) == 0 {
				c.batch.Items[i].Draft.Payload = nil
			}
		}
	}
	return reflect.DeepEqual(a, b)
}

func FuzzDecodeEntry(f *testing.F) {
	for _, g := range golden {
		f.Add(EncodeEntry(goldenTime, [][]byte{g.encoded, g.encoded}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		decoded, err := decodeEntry(data, nil)
		if err != nil {
			return
		}
		var message fsmpb.Entry
		if err := proto.Unmarshal(data, &message); err != nil || len(message.ProtoReflect().GetUnknown()) > 0 {
			t.Fatalf("accepted %x, but generated code has %v and unknown fields %x", data, err, message.ProtoReflect().GetUnknown())
		}
		if message.LeaderTime != int64(decoded.leaderTime) || len(message.Commands) != len(decoded.commands) {
			t.Fatalf("%x became %+v, and by generated code %v", data, decoded, &message)
		}
		for i, c := range message.Commands {
			if !bytes.Equal(c, decoded.commands[i]) {
				t.Fatalf("command %d of %x became %x, and by generated code %x", i, data, decoded.commands[i], c)
			}
		}
	})
}

// Whatever is committed is applied, or stops the machine by Fatal and leaves the
// store as it was. Nothing else panics.
func FuzzApply(f *testing.F) {
	for _, g := range golden {
		f.Add(EncodeEntry(goldenTime, [][]byte{g.encoded, g.encoded}))
	}
	f.Add(commandsOf(1, 1, appendOf("t", "m", "x"), []byte{0x2a, 0}).Data)
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBench(t, crashfs.New())
		b.mustApply(entryOf(1, fullDraftOf("first").Encode()))
		before := b.dump()
		results, err := b.apply(tidemark.Entry{Index: 2, Term: 1, Kind: tidemark.EntryCommands, Data: data})
		if err != nil {
			if after := b.dump(); after != before {
				t.Fatalf("stopped with %v, and the store became\n%s", err, after)
			}
			return
		}
		decoded, err := decodeEntry(data, nil)
		if err != nil || len(results[0]) != len(decoded.commands) || b.machine.Applied().Index != 2 {
			t.Fatalf("%d results for %d commands (%v), applied index is %d", len(results[0]), len(decoded.commands), err, b.machine.Applied().Index)
		}
	})
}
