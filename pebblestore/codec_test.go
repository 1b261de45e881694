package pebblestore

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"tidemark"
)

func FuzzMessageRoundTrip(f *testing.F) {
	f.Add(uint64(1), uint64(1), "m1", "alice", "text", "lang", "en", []byte("hello"), int64(5), int64(math.MinInt64))
	f.Add(uint64(math.MaxUint64), uint64(math.MaxUint64), "", "", "", "", "", []byte(nil), int64(math.MinInt64), int64(0))
	f.Add(uint64(1), uint64(2), strings.Repeat("i", 127), strings.Repeat("s", 128), "t", "k", strings.Repeat("v", 16384), bytes.Repeat([]byte{0}, 16383), int64(-1), int64(-1))
	f.Fuzz(func(t *testing.T, number, seq uint64, id, sender, kind, key, value string, payload []byte, server, client int64) {
		m := tidemark.Message{SeqID: tidemark.SeqID(seq), ServerTime: tidemark.Time(server), Digest: tidemark.InitialDigest("x")}
		m.Draft = tidemark.Draft{Timeline: "a", ID: tidemark.MessageID(id), Sender: sender, Type: kind, ClientTime: tidemark.Time(client)}
		if len(payload) > 0 {
			m.Payload = payload
		}
		if key != "" {
			m.Attributes = tidemark.Attributes{{Key: key, Value: value}, {Key: key + "2", Value: ""}}
		}
		record := appendMessage(nil, &m)
		if len(record) != messageRecordSize(&m) {
			t.Fatalf("the record has %d bytes; its size was given as %d", len(record), messageRecordSize(&m))
		}
		at := appendMessageKey(nil, number, m.SeqID)
		if n, s, ok := splitMessageKey(at); !ok || n != number || s != m.SeqID {
			t.Fatalf("key %x: got %d, %d, %t", at, n, s, ok)
		}
		got, err := decodeMessage("a", at, record)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("got %+v, %v; want %+v", got, err, m)
		}
		// What was returned is a copy: Pebble's buffer may change.
		clear(record)
		if !reflect.DeepEqual(got, m) {
			t.Fatal("the message shares memory with the record")
		}
	})
}

func FuzzRecordsRoundTrip(f *testing.F) {
	f.Add("conv/1", "alice", uint64(1), uint64(1), uint64(9), uint64(5), int64(3), []byte("members"))
	f.Add("", "", uint64(math.MaxUint64), uint64(math.MaxUint64), uint64(math.MaxUint64), uint64(math.MaxUint64), int64(math.MinInt64), []byte(nil))
	f.Fuzz(func(t *testing.T, id, reader string, number, first, last, size uint64, at int64, blob []byte) {
		h := tidemark.Head{Timeline: tidemark.TimelineID(id), Number: max(1, number), First: tidemark.SeqID(max(1, min(first, last))), Last: tidemark.SeqID(last), Bytes: size,
			CreatedTime: tidemark.Time(at), LastTime: tidemark.Time(-at), Digest: tidemark.InitialDigest(tidemark.TimelineID(id))}
		if got, err := decodeHead(appendHeadKey(nil, h.Timeline), appendHead(nil, &h)); err != nil || got != h {
			t.Errorf("head: got %+v, %v; want %+v", got, err, h)
		}
		if len(reader) > tidemark.MaxReaderIDBytes {
			reader = reader[:tidemark.MaxReaderIDBytes]
		}
		c := tidemark.Cursor{Reader: tidemark.ReaderID(reader), Delivered: tidemark.SeqID(last), Read: tidemark.SeqID(min(first, last)), UpdatedTime: tidemark.Time(at)}
		if got, err := decodeCursor(appendCursorKey(nil, number, c.Reader), appendCursor(nil, &c)); err != nil || got != c {
			t.Errorf("cursor: got %+v, %v; want %+v", got, err, c)
		}
		if r, n, ok := splitReaderKey(appendReaderKey(nil, c.Reader, number)); !ok || r != c.Reader || n != number {
			t.Errorf("reader key: got %q, %d, %t", r, n, ok)
		}
		a := tidemark.Applied{Index: first, Term: last, MembershipIndex: size, InstalledIndex: number}
		if len(blob) > 0 {
			a.Membership = blob
		}
		if got, err := decodeApplied(appendApplied(nil, &a)); err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("applied: got %+v, %v; want %+v", got, err, a)
		}
	})
}

// FuzzDecode feeds arbitrary bytes to every decoder. None may panic; what one
// accepts must encode to the same bytes, so that there is one record for each value.
func FuzzDecode(f *testing.F) {
	m := tidemark.Message{Draft: tidemark.Draft{ID: "m", Sender: "s", Type: "t", Payload: []byte("p"), ClientTime: 4, Attributes: tidemark.Attributes{{Key: "k", Value: "v"}}}, SeqID: 1}
	h := tidemark.Head{Timeline: "a", Number: 1, First: 1, Last: 2}
	f.Add(appendMessage(nil, &m), appendMessageKey(nil, 1, 1))
	f.Add(appendHead(nil, &h), appendHeadKey(nil, "a"))
	f.Add(appendCursor(nil, &tidemark.Cursor{Delivered: 2, Read: 1}), appendCursorKey(nil, 1, "r"))
	f.Add(appendApplied(nil, &tidemark.Applied{Index: 300, Membership: []byte("x")}), appendReaderKey(nil, "r", 1))
	f.Add([]byte{1, 0x80, 0}, []byte{tableDedupe})
	f.Add([]byte{2}, []byte{tableReader, 200})
	f.Fuzz(func(t *testing.T, record, key []byte) {
		check := func(what string, err error, again []byte) {
			if err == nil && !bytes.Equal(again, record) {
				t.Errorf("%s %x was accepted, and encodes as %x", what, record, again)
			}
			if err != nil && !errors.Is(err, tidemark.ErrCorrupt) && !errors.Is(err, tidemark.ErrNewerFormat) {
				t.Errorf("%s: got %v, want ErrCorrupt or ErrNewerFormat", what, err)
			}
		}
		if len(key) > 0 {
			h, err := decodeHead(key, record)
			check("head", err, appendHead(nil, &h))
		}
		m, err := decodeMessage("a", appendMessageKey(nil, 1, 1), record)
		check("message", err, appendMessage(nil, &m))
		_, _ = decodeMessage("a", key, record)
		if digest, err := messageDigest(appendMessageKey(nil, 1, 1), record); err == nil && m.Digest != (tidemark.Digest{}) && digest != m.Digest {
			t.Errorf("the digest alone is %s, and with the message %s", digest, m.Digest)
		}
		c, err := decodeCursor(appendCursorKey(nil, 1, ""), record)
		check("cursor", err, appendCursor(nil, &c))
		_, _ = decodeCursor(key, record)
		a, err := decodeApplied(record)
		check("applied", err, appendApplied(nil, &a))
		_, _ = decodeDedupe(key, record)
		if r, n, ok := splitReaderKey(key); ok && key[0] == tableReader && !bytes.Equal(appendReaderKey(nil, r, n), key) {
			t.Errorf("reader key %x was accepted", key)
		}
		if describeKey(key) == "" {
			t.Error("a key has no description")
		}
	})
}

// FuzzCurrent: no text but one that was written is taken for the root of a store.
func FuzzCurrent(f *testing.F) {
	f.Add(current{format: storeFormat, generation: 1}.encode())
	f.Add(current{format: 1, generation: 1234567, creating: true}.encode())
	f.Add("tidemark store 2\nanything\n")
	f.Add("tidemark store 1\ngeneration-1 ready\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCurrent(currentName, text)
		switch {
		case err == nil && c.encode() != text:
			t.Errorf("%q was accepted as %+v", text, c)
		case err != nil && !errors.Is(err, tidemark.ErrCorrupt) && !errors.Is(err, tidemark.ErrNewerFormat):
			t.Errorf("got %v, want ErrCorrupt or ErrNewerFormat", err)
		}
	})
}

// TestKeyOrder: the order of keys is that of what they hold, and no two tables,
// timelines or readers mix.
func TestKeyOrder(t *testing.T) {
	keys := [][]byte{
		keyFormat, keyApplied, keyNextNumber,
		appendHeadKey(nil, "a"), appendHeadKey(nil, "a/b"), appendHeadKey(nil, "b"),
		appendMessageKey(nil, 1, 1), appendMessageKey(nil, 1, 2), appendMessageKey(nil, 1, 256), appendMessageKey(nil, 2, 1), appendMessageKey(nil, 256, 1),
		appendDedupeKey(nil, 1, "a"), appendDedupeKey(nil, 1, "b"), appendDedupeKey(nil, 2, "a"),
		appendCursorKey(nil, 1, "al"), appendCursorKey(nil, 1, "alice"), appendCursorKey(nil, 2, "al"),
		appendReaderKey(nil, "al", math.MaxUint64), appendReaderKey(nil, "alice", 1), appendReaderKey(nil, "alice", 300),
		appendNumberKey(nil, 1), appendNumberKey(nil, 2),
		appendSenderKey(nil, 1, "al", math.MaxUint64), appendSenderKey(nil, 1, "alice", 1), appendSenderKey(nil, 1, "alice", 300), appendSenderKey(nil, 2, "al", 1),
		appendRecipientKey(nil, 1, "a"), appendRecipientKey(nil, 1, "b"), appendRecipientKey(nil, 2, "a"),
		appendRecipientSetKey(nil, 1), keyLevel,
		{tableEnd},
	}
	for i := range len(keys) - 1 {
		if bytes.Compare(keys[i], keys[i+1]) >= 0 {
			t.Errorf("%s (%x) must be before %s (%x)", describeKey(keys[i]), keys[i], describeKey(keys[i+1]), keys[i+1])
		}
	}
}

// TestNewerRecords: a record or flag of a later version is refused as such, not as damage.
func TestNewerRecords(t *testing.T) {
	m := tidemark.Message{Draft: tidemark.Draft{ID: "m", ClientTime: tidemark.NoTime}}
	message, head := appendMessage(nil, &m), appendHead(nil, &tidemark.Head{Number: 1, First: 1})
	flagged := bytes.Clone(message)
	flagged[1] |= 1 << 7
	message[0], head[0] = 2, 3
	key := appendMessageKey(nil, 1, 1)
	for name, err := range map[string]error{
		"message": second(decodeMessage("a", key, message)),
		"flags":   second(decodeMessage("a", key, flagged)),
		"head":    second(decodeHead(appendHeadKey(nil, "a"), head)),
		"applied": second(decodeApplied([]byte{2})),
		"cursor":  second(decodeCursor(appendCursorKey(nil, 1, "r"), []byte{3})),
	} {
		if !errors.Is(err, tidemark.ErrNewerFormat) {
			t.Errorf("%s: got %v, want ErrNewerFormat", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestRecent(t *testing.T) {
	cache := recent[tidemark.TimelineID, tidemark.Head]{limit: 4}
	put := func(id tidemark.TimelineID, last tidemark.SeqID) { cache.put(id, tidemark.Head{Last: last}) }
	put("a", 1)
	put("b", 1)
	put("c", 1) // a and b are old now
	put("a", 2)
	if h, ok := cache.get("a"); !ok || h.Last != 2 {
		t.Errorf("got %+v, %t; the newer head of a must hide the older", h, ok)
	}
	put("d", 1)
	put("e", 1)
	if len(cache.young)+len(cache.old) > cache.limit {
		t.Errorf("%d heads are held; the limit is %d", len(cache.young)+len(cache.old), cache.limit)
	}
	if _, ok := cache.get("b"); ok {
		t.Error("b was not used for long, and must be forgotten")
	}
	cache.clear()
	if _, ok := cache.get("e"); ok {
		t.Error("a cleared cache holds nothing")
	}
	none := recent[tidemark.TimelineID, tidemark.Head]{}
	none.put("a", tidemark.Head{})
	if _, ok := none.get("a"); ok {
		t.Error("a cache without room holds nothing")
	}
}
