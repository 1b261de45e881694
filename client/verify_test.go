package client_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"tidemark"
	"tidemark/client"
	"tidemark/rpc/rpctest"
)

// What was read proves itself; what was changed since, or is not what the cluster holds,
// is told, with the place.
func TestVerify(t *testing.T) {
	cluster := rpctest.Start(t, 1, rpctest.Options{})
	c := dialReal(t, cluster.Addresses())
	ctx := testContext(t)
	for i := range 20 {
		if _, err := c.Append(ctx, client.Draft{Timeline: "conv/1", Payload: fmt.Appendf(nil, "%d", i), Attributes: map[string]string{"n": fmt.Sprint(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	page, err := c.Read(ctx, "conv/1", client.From(6), client.Limit(10))
	if err != nil {
		t.Fatal(err)
	}
	verified, err := c.Verify(ctx, page.PreviousDigest, page.Messages)
	if err != nil || !verified.Equal || verified.EqualTo != 15 || verified.Timeline.Last != 20 {
		t.Errorf("what was read gives %+v, %v", verified, err)
	}

	changed := slices.Clone(page.Messages)
	changed[4].Payload = []byte("forged")
	if _, err := c.Verify(ctx, page.PreviousDigest, changed); !errors.Is(err, tidemark.ErrCorrupt) {
		t.Errorf("a forged payload gives %v", err)
	}
	// Whoever forges the digests too is found by the cluster.
	digest := page.PreviousDigest
	for i := range changed {
		if digest, err = changed[i].NextDigest(digest); err != nil {
			t.Fatal(err)
		}
		changed[i].Digest = digest
	}
	verified, err = c.Verify(ctx, page.PreviousDigest, changed)
	if err != nil || verified.Equal || verified.EqualTo != 9 || verified.DiffersAt != 10 || verified.Digest != page.Messages[4].Digest {
		t.Errorf("forged digests give %+v, %v", verified, err)
	}
	for name, messages := range map[string][]client.Message{"nothing": nil, "a hole": {page.Messages[0], page.Messages[2]}} {
		if _, err := c.Verify(ctx, page.PreviousDigest, messages); !errors.Is(err, tidemark.ErrInvalid) {
			t.Errorf("%s gives %v", name, err)
		}
	}
}
