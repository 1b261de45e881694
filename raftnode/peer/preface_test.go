package peer

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestHelloGoldenBytes(t *testing.T) {
	h := hello{kind: KindGRPC, fromID: "n1", fromIncarnation: "aa", toID: "n2", expectedIncarnation: ""}
	want := "TMRP\x01\x02\x00\x0a\x02n1\x02aa\x02n2\x00"
	if got := string(h.encode()); got != want {
		t.Errorf("hello is %q, want %q", got, want)
	}
	a := answer{reason: ReasonNotMember, id: "n2", detail: "no"}
	want = "TMRP\x01\x06\x00\x07\x02n2\x00\x02no"
	if got := string(a.encode()); got != want {
		t.Errorf("answer is %q, want %q", got, want)
	}
}

func TestPrefaceRoundTripAtTheLimits(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	h := hello{KindRaft, long(MaxNodeIDBytes), long(MaxIncarnationBytes), long(MaxNodeIDBytes), long(MaxIncarnationBytes)}
	r := bytes.NewReader(append(h.encode(), "rest"...))
	got, err := readHello(r)
	if err != nil || got != h {
		t.Fatalf("got %+v, %v", got, err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "rest" {
		t.Errorf("%q is left behind the preface, want what followed it", rest)
	}
	a := answer{Accepted, h.fromID, h.fromIncarnation, ""}
	if got, err := readAnswer(bytes.NewReader(a.encode())); err != nil || got != a {
		t.Fatalf("got %+v, %v", got, err)
	}
	a = answer{ReasonInternal, "n1", "", long(1000)}
	if got, err := readAnswer(bytes.NewReader(a.encode())); err != nil || len(got.detail) != 255 {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestPrefaceErrors(t *testing.T) {
	ok := string(hello{KindRaft, "n1", "i1", "n2", "i2"}.encode())
	long := strings.Repeat("x", 200)
	for name, c := range map[string]struct{ in, want string }{
		"empty":             {"", "EOF"},
		"cut in the header": {ok[:5], "unexpected EOF"},
		"cut at the body":   {ok[:8], "unexpected EOF"},
		"cut in the body":   {ok[:12], "unexpected EOF"},
		"other protocol":    {"GET / HTTP/1.1\r\n", errNotPreface.Error()},
		"version zero":      {"TMRP\x00\x01\x00\x00", errNotPreface.Error()},
		"newer":             {"TMRP\x02\x01\x00\x01x", "version 2"},
		"body too long":     {"TMRP\x01\x01\x04\x01", "1025 bytes; limit is 1024"},
		"no fields":         {"TMRP\x01\x01\x00\x00", "field 1 of 4"},
		"field past end":    {"TMRP\x01\x01\x00\x02\x05x", "field 1 of 4"},
		"empty id":          {string(hello{KindRaft, "", "i", "n2", ""}.encode()), "dialer's id has 0 bytes"},
		"long id":           {string(hello{KindRaft, long, "i", "n2", ""}.encode()), "dialer's id has 200 bytes"},
		"long incarnation":  {string(hello{KindRaft, "n1", long, "n2", ""}.encode()), "dialer's incarnation has 200 bytes"},
		"long target":       {string(hello{KindRaft, "n1", "i", long, ""}.encode()), "acceptor's id has 200 bytes"},
		"long expectation":  {string(hello{KindRaft, "n1", "i", "n2", long}.encode()), "expected incarnation has 200 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readHello(strings.NewReader(c.in))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
	if _, err := readAnswer(bytes.NewReader(answer{reason: Accepted}.encode())); err == nil {
		t.Error("an acceptance without id and incarnation passed")
	}
}

func TestPrefaceSkipsLaterFields(t *testing.T) {
	b := encodePreface(byte(KindRaft), "n1", "i1", "n2", "", "a field of a later version")
	h, err := readHello(bytes.NewReader(b))
	if err != nil || h.fromID != "n1" || h.toID != "n2" {
		t.Errorf("got %+v, %v", h, err)
	}
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Reasons() {
		name := r.String()
		if name == "" || strings.HasPrefix(name, "reason_") || seen[name] {
			t.Errorf("reason %d is called %q", r, name)
		}
		seen[name] = true
	}
	if got := Reason(200).String(); got != "reason_200" {
		t.Errorf("unknown reason is %q", got)
	}
}

func FuzzPreface(f *testing.F) {
	f.Add(hello{KindRaft, "n1", "i1", "n2", "i2"}.encode())
	f.Add(answer{ReasonNotMember, "n2", "", "no"}.encode())
	f.Add([]byte("TMRP\x02\x01\x00\x01x"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if h, err := readHello(bytes.NewReader(in)); err == nil {
			again, err := readHello(bytes.NewReader(h.encode()))
			if err != nil || again != h {
				t.Fatalf("%+v reads back as %+v, %v", h, again, err)
			}
		}
		if a, err := readAnswer(bytes.NewReader(in)); err == nil {
			again, err := readAnswer(bytes.NewReader(a.encode()))
			if err != nil || again != a {
				t.Fatalf("%+v reads back as %+v, %v", a, again, err)
			}
		} else if errors.Is(err, io.EOF) && len(in) != 0 {
			t.Fatalf("%d bytes read as the end of the stream", len(in))
		}
	})
}
