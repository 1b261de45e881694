package tidemark_test

import (
	"encoding/hex"
	"testing"

	"tidemark"
)

// These vectors stand in docs/format.md too, computed there by another program,
// so that another language can check itself. They may never change.
func TestDigestVectors(t *testing.T) {
	first := tidemark.Draft{
		Timeline: "conv/1", ID: "m1", Sender: "alice", Type: "text", Payload: []byte("hello"),
		Attributes: tidemark.Attributes{{Key: "lang", Value: "en"}}, ClientTime: 1100521080000000000,
	}
	second := tidemark.Draft{Timeline: "conv/1", ID: "m2", ClientTime: tidemark.NoTime}

	zero := tidemark.InitialDigest("conv/1")
	content1 := first.Hash(tidemark.HashPayload(first.Payload))
	one := tidemark.NextDigest(zero, 1, 1700000000000000001, first.ID, content1)
	content2 := second.Hash(tidemark.HashPayload(second.Payload))
	two := tidemark.NextDigest(one, 2, 1700000000000000002, second.ID, content2)

	inbox := tidemark.InitialDigest("inbox/bob")
	entry := tidemark.NextReferenceDigest(inbox, 1, 1700000000000000005, "m1", &tidemark.Source{Timeline: "conv/1", SeqID: 1, Digest: one})

	edited := first
	edited.Payload, edited.Attributes = []byte("hello!"), nil
	content3 := edited.Hash(tidemark.HashPayload(edited.Payload))
	edit := tidemark.Message{Draft: tidemark.Draft{ID: "e1", Sender: "alice#laptop"}, SeqID: 3, ServerTime: 1700000000000000003,
		Revises: &tidemark.Revises{SeqID: 1, Number: 1, Content: content3}}
	three := edit.ChainDigest(two)
	redaction := tidemark.Message{Draft: tidemark.Draft{ID: "e2", Sender: "alice"}, SeqID: 4, ServerTime: 1700000000000000004,
		Revises: &tidemark.Revises{SeqID: 1, Number: 2, Redacted: true}}
	four := redaction.ChainDigest(three)
	// The chain goes on with what was appended.
	revised := tidemark.Message{Draft: edited, SeqID: 1, ServerTime: 1700000000000000001, Revision: &tidemark.Revision{Number: 1, Original: content1}}
	if got := revised.ChainDigest(zero); got != one {
		t.Errorf("the digest of a revised message: got %s, want %s", got, one)
	}

	for name, pair := range map[string][2]string{
		"content hash of e1": {hex.EncodeToString(content3[:]), "cc5c0f71a3ac6ff237aa890ae377bbb221d60d986a126473cbdffab99a265a38"},
		"digest of e1":       {three.String(), "a2bca3163f5fe27a7005c728eb89128a"},
		"digest of e2":       {four.String(), "c6eff4b99dd3ba85a12333cf7867c701"},

		"initial digest of an inbox": {inbox.String(), "90368326f2b480d81ab437347dc4d180"},
		"digest of an entry of it":   {entry.String(), "1c5b2756bc8b9e7a0e101ed6e8385b71"},

		"initial digest":     {zero.String(), "83b0448a4a8ca179aa897f812b4ab2e5"},
		"content hash of m1": {hex.EncodeToString(content1[:]), "7ccebeb30d133b3b206026618917afec2108d9a50525a5c0e2a8863be1af7ac9"},
		"digest of m1":       {one.String(), "79fbbc7ccd6934ae4c9f37f5aa999673"},
		"content hash of m2": {hex.EncodeToString(content2[:]), "6e7a88654bb9dfc26061c5276265b4ac76fd6c7fadf9885ed366de420c7cde70"},
		"digest of m2":       {two.String(), "3b2570e7d7d372a1bc963be89fae28e7"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %s, want %s", name, pair[0], pair[1])
		}
	}
}

// Each field that a sender decides moves the content hash, and no two fields can
// trade bytes; each field that the cluster decides moves the digest.
func TestDigestCoversEveryField(t *testing.T) {
	base := tidemark.Draft{Timeline: "c", ID: "m", Sender: "ab", Type: "c", Payload: []byte("d"), ClientTime: 1,
		Attributes: tidemark.Attributes{{Key: "k", Value: "v"}}}
	variants := map[string]func(*tidemark.Draft){
		"sender":          func(d *tidemark.Draft) { d.Sender = "x" },
		"type":            func(d *tidemark.Draft) { d.Type = "x" },
		"sender and type": func(d *tidemark.Draft) { d.Sender, d.Type = "a", "bc" },
		"payload":         func(d *tidemark.Draft) { d.Payload = nil },
		"client time":     func(d *tidemark.Draft) { d.ClientTime = 2 },
		"no client time":  func(d *tidemark.Draft) { d.ClientTime = tidemark.NoTime },
		"attribute value": func(d *tidemark.Draft) { d.Attributes = tidemark.Attributes{{Key: "k", Value: "w"}} },
		"attribute split": func(d *tidemark.Draft) { d.Attributes = tidemark.Attributes{{Key: "kv", Value: ""}} },
		"no attributes":   func(d *tidemark.Draft) { d.Attributes = nil },
	}
	hash := func(d tidemark.Draft) tidemark.ContentHash { return d.Hash(tidemark.HashPayload(d.Payload)) }
	seen := map[tidemark.ContentHash]string{hash(base): "base"}
	for name, change := range variants {
		draft := base
		change(&draft)
		content := hash(draft)
		if other, taken := seen[content]; taken {
			t.Errorf("%s has the content hash of %s", name, other)
		}
		seen[content] = name
	}

	zero, content := tidemark.InitialDigest("c"), hash(base)
	digests := []tidemark.Digest{
		tidemark.NextDigest(zero, 1, 1, "m", content),
		tidemark.NextDigest(tidemark.InitialDigest("d"), 1, 1, "m", content),
		tidemark.NextDigest(zero, 2, 1, "m", content),
		tidemark.NextDigest(zero, 1, 2, "m", content),
		tidemark.NextDigest(zero, 1, 1, "n", content),
		tidemark.NextDigest(zero, 1, 1, "m", tidemark.ContentHash{}),
	}
	unique := map[tidemark.Digest]int{}
	for i, digest := range digests {
		if other, taken := unique[digest]; taken {
			t.Errorf("digests %d and %d are equal", i, other)
		}
		unique[digest] = i
	}
}

func BenchmarkDigest(b *testing.B) {
	draft := tidemark.Draft{Timeline: "conv/1", ID: "0192f3a4-5b6c-7d8e-9f00-112233445566", Sender: "alice", Type: "text", Payload: make([]byte, 256), ClientTime: 1}
	digest := tidemark.InitialDigest(draft.Timeline)
	b.ReportAllocs()
	for b.Loop() {
		digest = tidemark.NextDigest(digest, 1, 1, draft.ID, draft.Hash(tidemark.HashPayload(draft.Payload)))
	}
}
