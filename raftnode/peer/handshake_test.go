package peer

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// TestHandshakeMatrix dials n2 from n1 under every disagreement that there is.
func TestHandshakeMatrix(t *testing.T) {
	for name, c := range map[string]struct {
		dialer, acceptor func(*Config)
		target           string
		want             Reason
		replaced         string // whose own data was replaced: dialer, acceptor or nobody
	}{
		"first contact": {},
		"known both ways": {
			dialer:   func(c *Config) { c.Registry = newMemRegistry(map[string]string{"n2": "n2-a"}) },
			acceptor: func(c *Config) { c.Registry = newMemRegistry(map[string]string{"n1": "n1-a"}) },
		},
		"wrong id": {target: "n3", want: ReasonWrongNode},
		"unknown member": {
			acceptor: func(c *Config) { c.IsMember = func(id string) bool { return id != "n1" } },
			want:     ReasonNotMember,
		},
		"dialer came back empty": {
			acceptor: func(c *Config) { c.Registry = newMemRegistry(map[string]string{"n1": "n1-before"}) },
			want:     ReasonDialerChanged, replaced: "dialer",
		},
		"acceptor came back empty": {
			dialer: func(c *Config) { c.Registry = newMemRegistry(map[string]string{"n2": "n2-before"}) },
			want:   ReasonAcceptorChanged, replaced: "acceptor",
		},
		"same id": {
			dialer: func(c *Config) { c.NodeID = "n2" },
			want:   ReasonIdentity,
		},
		"registry of the acceptor fails": {
			acceptor: func(c *Config) { c.Registry = &memRegistry{peers: map[string]string{}, fail: io.ErrShortWrite} },
			want:     ReasonInternal,
		},
	} {
		t.Run(name, func(t *testing.T) {
			n2 := openMux(t, "n2", c.acceptor)
			n1 := openMux(t, "n1", c.dialer)
			drain(t, n2.StreamLayer())
			target := "n2"
			if c.target != "" {
				target = c.target
			}
			conn, err := n1.Dial(testContext(t), KindRaft, target, n2.Advertise())
			if c.want == Accepted {
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
				if known, _ := n1.cfg.Registry.Known("n2"); known != "n2-a" {
					t.Errorf("dialer remembers %q", known)
				}
				if known, _ := n2.cfg.Registry.Known("n1"); known != "n1-a" {
					t.Errorf("acceptor remembers %q", known)
				}
				return
			}
			var refused *RefusedError
			if !errors.As(err, &refused) || refused.Reason != c.want || refused.Peer != target || refused.Inbound {
				t.Fatalf("dial failed with %v, want refusal %v", err, c.want)
			}
			out := n1.waitRefusal(t, false, c.want)
			in := n2.waitRefusal(t, true, c.want)
			if got := out.OwnDataReplaced(); got != (c.replaced == "dialer") {
				t.Errorf("dialer's own data replaced: %v", got)
			}
			if got := in.OwnDataReplaced(); got != (c.replaced == "acceptor") {
				t.Errorf("acceptor's own data replaced: %v", got)
			}
			if c.replaced != "" && !strings.Contains(out.Detail, "remove the member and add it anew") {
				t.Errorf("the refusal does not say what to do: %s", out.Detail)
			}
			if n := n2.Conns()[KindRaft]; n != 0 {
				t.Errorf("%d connections are left", n)
			}
		})
	}
}

// TestRefusedLeavesNoTrace: a stranger must not be able to take an id.
func TestRefusedLeavesNoTrace(t *testing.T) {
	n2 := openMux(t, "n2", func(c *Config) { c.IsMember = func(string) bool { return false } })
	n1 := openMux(t, "n1", nil)
	if _, err := n1.Dial(testContext(t), KindRaft, "n2", n2.Advertise()); err == nil {
		t.Fatal("a stranger was let in")
	}
	wantKnown(t, n2.registry, "n1", "")
	wantKnown(t, n1.registry, "n2", "")
}

// TestDialerChecksTheAnswerItself stands for an acceptor that ignores what the
// dialer expects of it.
func TestDialerChecksTheAnswerItself(t *testing.T) {
	n2 := openMux(t, "n2", nil)
	n1 := openMux(t, "n1", func(c *Config) { c.Registry = forgetful{newMemRegistry(map[string]string{"n2": "n2-before"})} })
	drain(t, n2.StreamLayer())
	_, err := n1.Dial(testContext(t), KindRaft, "n2", n2.Advertise())
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Reason != ReasonAcceptorChanged {
		t.Fatalf("dial failed with %v, want %v", err, ReasonAcceptorChanged)
	}
	eventually(t, "the acceptor's end to be closed", func() bool { return n1.Conns()[KindRaft] == 0 })
}

// forgetful does not know what to expect, yet will not remember anything else.
type forgetful struct{ Registry }

func (forgetful) Known(string) (string, bool) { return "", false }

func TestRawPrefaces(t *testing.T) {
	n2 := openMux(t, "n2", func(c *Config) { c.HandshakeTimeout = 200 * time.Millisecond })
	for name, c := range map[string]struct {
		send   string
		want   Reason
		silent bool
	}{
		"bad magic":     {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ReasonMalformed, true},
		"newer version": {"TMRP\x02\x01\x00\x03xyz", ReasonVersion, false},
		"unknown kind":  {string(hello{Kind(9), "n1", "i", "n2", ""}.encode()), ReasonKind, false},
		"malformed":     {"TMRP\x01\x01\x00\x01x", ReasonMalformed, false},
		"too long":      {"TMRP\x01\x01\xff\xff", ReasonMalformed, false},
		"slow":          {"TMRP\x01", ReasonTimeout, true},
	} {
		t.Run(name, func(t *testing.T) {
			conn := rawDial(t, n2.Advertise())
			if _, err := conn.Write([]byte(c.send)); err != nil {
				t.Fatal(err)
			}
			a, err := readAnswer(conn)
			if c.silent {
				if err == nil {
					t.Errorf("a stranger was answered: %+v", a)
				}
			} else if err != nil || a.reason != c.want || a.id != "n2" || a.incarnation != "" {
				t.Errorf("answer is %+v, %v; want %v", a, err, c.want)
			}
			conn.Close()
			n2.waitRefusal(t, true, c.want)
		})
	}
}

// TestDialerGivesUpInTime dials something that accepts and never answers.
func TestDialerGivesUpInTime(t *testing.T) {
	n1 := openMux(t, "n1", func(c *Config) { c.DialTimeout = 50 * time.Millisecond })
	silent := rawListener(t)
	start := time.Now()
	if _, err := n1.Dial(testContext(t), KindRaft, "n2", silent); err == nil {
		t.Error("a dial to a silent port succeeded")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestDialEndsWithTheMux(t *testing.T) {
	n1 := openMux(t, "n1", func(c *Config) { c.DialTimeout = time.Hour })
	silent := rawListener(t)
	failed := make(chan error)
	go func() {
		_, err := n1.Dial(t.Context(), KindRaft, "n2", silent)
		failed <- err
	}()
	n1.Close()
	select {
	case err := <-failed:
		if err == nil {
			t.Error("the dial succeeded")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the dial outlived the Mux")
	}
}
