package history

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tidemark"
	"tidemark/client"
)

// chat builds a sound timeline of n messages, and what was sent for it.
func chat(t *testing.T, n int) ([]client.Message, *Sent) {
	t.Helper()
	sent := NewSent()
	var messages []client.Message
	digest := tidemark.InitialDigest("conv/1")
	for i := range n {
		m := client.Message{Draft: client.Draft{
			Timeline: "conv/1", ID: tidemark.MessageID(fmt.Sprintf("m%d", i+1)), Sender: "alice", Payload: []byte{byte(i)},
		}, SeqID: tidemark.SeqID(i + 1), ServerTime: time.Unix(1_700_000_000, int64(i))}
		draft, err := m.Tidemark()
		if err != nil {
			t.Fatal(err)
		}
		sent.Send(draft)
		digest = tidemark.NextDigest(digest, m.SeqID, tidemark.Time(m.ServerTime.UnixNano()), m.ID, draft.Hash(tidemark.HashPayload(m.Payload)))
		m.Digest = digest
		messages = append(messages, m)
		if _, err := sent.Acknowledge("conv/1", m.ID, m.SeqID); err != nil {
			t.Fatal(err)
		}
	}
	return messages, sent
}

func chainError(messages []client.Message) error {
	chain := NewChain("conv/1")
	for i := range messages {
		if err := chain.Add(&messages[i]); err != nil {
			return err
		}
	}
	return nil
}

func TestSoundHistoryPasses(t *testing.T) {
	messages, sent := chat(t, 5)
	if err := errors.Join(chainError(messages), sent.Compare("conv/1", messages, Expectation{All: true, Ordered: true})); err != nil {
		t.Error(err)
	}
}

func TestChainFindsEveryDamage(t *testing.T) {
	for name, damage := range map[string]func([]client.Message) []client.Message{
		"a hole":         func(m []client.Message) []client.Message { return append(m[:1:1], m[2:]...) },
		"a repetition":   func(m []client.Message) []client.Message { return append(m[:2:2], m[1:]...) },
		"a late start":   func(m []client.Message) []client.Message { return m[1:] },
		"an exchange":    func(m []client.Message) []client.Message { m[1], m[2] = m[2], m[1]; return m },
		"a payload":      func(m []client.Message) []client.Message { m[1].Payload = []byte("x"); return m },
		"a sender":       func(m []client.Message) []client.Message { m[1].Sender = "mallory"; return m },
		"a message id":   func(m []client.Message) []client.Message { m[1].ID = "x"; return m },
		"a server time":  func(m []client.Message) []client.Message { m[1].ServerTime = m[1].ServerTime.Add(1); return m },
		"a digest":       func(m []client.Message) []client.Message { m[4].Digest[0] ^= 1; return m },
		"other timeline": func(m []client.Message) []client.Message { m[1].Timeline = "conv/2"; return m },
	} {
		messages, _ := chat(t, 5)
		if err := chainError(damage(messages)); !errors.Is(err, tidemark.ErrCorrupt) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestCompareFindsEveryDifference(t *testing.T) {
	for name, test := range map[string]struct {
		change func([]client.Message, *Sent) []client.Message
		want   Expectation
		err    string
	}{
		"lost":    {func(m []client.Message, _ *Sent) []client.Message { return m[:4] }, Expectation{}, "it is lost"},
		"doubled": {func(m []client.Message, _ *Sent) []client.Message { return append(m, m[0]) }, Expectation{}, "twice"},
		"moved": {func(m []client.Message, _ *Sent) []client.Message {
			m[0].SeqID, m[1].SeqID = 2, 1
			return m
		}, Expectation{}, "was acknowledged as"},
		"unknown": {func(m []client.Message, _ *Sent) []client.Message {
			return append(m, client.Message{Draft: client.Draft{ID: "x"}, SeqID: 6})
		}, Expectation{}, "nobody sent"},
		"changed":    {func(m []client.Message, _ *Sent) []client.Message { m[2].Payload = nil; return m }, Expectation{}, "payload differs"},
		"other type": {func(m []client.Message, _ *Sent) []client.Message { m[2].Type = "x"; return m }, Expectation{}, "type is"},
		"time":       {func(m []client.Message, _ *Sent) []client.Message { m[2].ClientTime = time.Unix(1, 0); return m }, Expectation{}, "client time"},
		"missing unsaid": {func(m []client.Message, s *Sent) []client.Message {
			s.Send(tidemark.Draft{Timeline: "conv/1", ID: "x"})
			return m
		}, Expectation{All: true}, "is not there"},
		"overtaken": {func(m []client.Message, s *Sent) []client.Message {
			s.Send(tidemark.Draft{Timeline: "conv/1", ID: "x", ClientTime: tidemark.NoTime})
			s.Send(tidemark.Draft{Timeline: "conv/1", ID: "y", ClientTime: tidemark.NoTime})
			return append(m,
				client.Message{Draft: client.Draft{Timeline: "conv/1", ID: "y"}, SeqID: 6},
				client.Message{Draft: client.Draft{Timeline: "conv/1", ID: "x"}, SeqID: 7})
		}, Expectation{Ordered: true}, "before one that was sent before it"},
	} {
		messages, sent := chat(t, 5)
		err := sent.Compare("conv/1", test.change(messages, sent), test.want)
		if err == nil || !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: got %v, want %q", name, err, test.err)
		}
	}
}

func TestTwoAcknowledgementsMustAgree(t *testing.T) {
	_, sent := chat(t, 1)
	if n, err := sent.Acknowledge("conv/1", "m1", 1); err != nil || n != 1 {
		t.Errorf("the same again: %d, %v", n, err)
	}
	if _, err := sent.Acknowledge("conv/1", "m1", 2); err == nil {
		t.Error("another SeqID was accepted")
	}
}
