package peer

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"
)

func encodeMessage(t testing.TB, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	// As raft.NetworkTransport encodes.
	h := &codec.MsgpackHandle{}
	h.TimeNotBuiltin = true
	if err := codec.NewEncoder(&b, h).Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadMessageCopiesOneValue(t *testing.T) {
	long := strings.Repeat("s", 70_000)
	anything := map[string]any{
		"nil": nil, "bool": true, "small": 1, "negative": -1, "u8": uint8(200), "u16": uint16(40_000), "u32": uint32(1 << 30),
		"u64": uint64(1 << 60), "i8": int8(-100), "i16": int16(-30_000), "i32": int32(-1 << 30), "i64": int64(-1 << 60),
		"f32": float32(1.5), "f64": 2.5, "s8": long[:100], "s16": long[:300], "s32": long, "bytes": []byte("b"),
		"array": make([]int, 5), "array16": make([]string, 100), "array32": make([]bool, 40_000), "map": map[int]int{1: 2},
		"map16": func() map[int]int {
			m := map[int]int{}
			for i := range 1000 {
				m[i] = i
			}
			return m
		}(),
	}
	for _, v := range []any{
		anything, "x", nil, 7,
		&raft.AppendEntriesRequest{Term: 1, Entries: []*raft.Log{{Index: 1, Data: []byte(long)}, nil}},
		&raft.InstallSnapshotRequest{Configuration: raft.EncodeConfiguration(testConfiguration())},
	} {
		data := encodeMessage(t, v)
		r := bufio.NewReaderSize(bytes.NewReader(append(data, "rest"...)), 16)
		got, err := readMessage(r, nil, len(data))
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%T: copied %d bytes of %d: %v", v, len(got), len(data), err)
		}
		if rest, _ := io.ReadAll(r); string(rest) != "rest" {
			t.Errorf("%T: left %q", v, rest)
		}
		if _, err := readMessage(bytes.NewReader(data), nil, len(data)-1); err == nil {
			t.Errorf("%T: passed with a limit below its size", v)
		}
		if _, err := readMessage(bytes.NewReader(data[:len(data)-1]), nil, len(data)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%T: cut by a byte: %v", v, err)
		}
	}
	// The new msgpack formats, which raft does not send.
	for _, data := range []string{"\xc4\x01b", "\xc5\x00\x01b", "\xc6\x00\x00\x00\x01b", "\xd4tb", "\xd8t0123456789abcdef", "\xc7\x02tab", "\xc8\x00\x02tab", "\xc9\x00\x00\x00\x02tab"} {
		if got, err := readMessage(strings.NewReader(data+"rest"), nil, 100); err != nil || string(got) != data {
			t.Errorf("%q: copied %q, %v", data, got, err)
		}
	}
}

func TestReadMessageRefusesBombs(t *testing.T) {
	for want, data := range map[string]string{
		"more than 1000 bytes":               "\xc6\xff\xff\xff\xffx",
		"container of 4294967295 values":     "\xdd\xff\xff\xff\xff",
		"container of 8589934590 values":     "\xdf\xff\xff\xff\xff",
		"nested more than 16 deep":           strings.Repeat("\x91", 900),
		"byte 0xc1 where a value":            "\x91\xc1",
		"invalid Raft message: message has ": "\xdb\x00\x00\x03\xe8",
	} {
		var invalid *invalidRPCError
		_, err := readMessage(strings.NewReader(data), nil, 1000)
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", data[:2], err, want)
		}
	}
	// Many small containers, each within its own limit.
	bomb := "\xdc\xff\xff" + strings.Repeat("\x91\xc0", 0xffff)
	if _, err := readMessage(strings.NewReader(bomb), nil, len(bomb)); err == nil || !strings.Contains(err.Error(), "more than 65536 values") {
		t.Errorf("100,000 values: %v", err)
	}
}

// TestReadMessageBelievesNoLength: memory is given for bytes that have come, not
// for those that are claimed.
func TestReadMessageBelievesNoLength(t *testing.T) {
	got, err := readMessage(strings.NewReader("\xc6\x03\xff\x00\x00short"), nil, 64<<20)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error is %v", err)
	}
	if cap(got) > 4*growStep {
		t.Errorf("%d bytes were allocated for 10 that came", cap(got))
	}
}

// TestDecodedMessageOwnsItsBytes: the buffer is used again for the next message
// while Raft holds the entries of this one.
func TestDecodedMessageOwnsItsBytes(t *testing.T) {
	data := encodeMessage(t, &raft.AppendEntriesRequest{Entries: []*raft.Log{{Index: 1, Data: []byte("payload"), Extensions: []byte("ext")}}})
	var a raft.AppendEntriesRequest
	if err := codec.NewDecoderBytes(data, decodeHandle).Decode(&a); err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] = 'X'
	}
	if got := string(a.Entries[0].Data) + string(a.Entries[0].Extensions); got != "payloadext" {
		t.Errorf("entry became %q", got)
	}
}

func FuzzReadMessage(f *testing.F) {
	f.Add(encodeMessage(f, &raft.AppendEntriesRequest{Term: 1, Entries: []*raft.Log{{Index: 1, Data: []byte("x")}}}))
	f.Add([]byte("\xdf\xff\xff\xff\xff"))
	f.Add([]byte("\x81\xa7Entries\xdd\x00\x00\x10\x00\x80\x80"))
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1 << 16
		got, err := readMessage(bytes.NewReader(in), nil, limit)
		if !bytes.HasPrefix(in, got) && err == nil || len(got) > limit {
			t.Fatalf("copied %d bytes that are not the first of %d", len(got), len(in))
		}
		if err != nil {
			return
		}
		for kind := range byte(5) {
			command := newCommand(kind)
			if codec.NewDecoderBytes(got, decodeHandle).Decode(command) == nil {
				_ = validate(command, "n1") // must not panic
			}
		}
	})
}
