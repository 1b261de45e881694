package audit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tidemark"
	"tidemark/client"
)

// settingOf reads from one node something that has no order by which an older state could
// be told from a newer one, as a text.
type settingOf func(ctx context.Context, node *client.Client, id tidemark.TimelineID, level client.Consistency) (string, error)

const (
	// sameAttempts is how often a setting that changes meanwhile is looked at.
	sameAttempts = 10
	// sameStrikes is how often a difference must show: a setting that changes back and
	// forth may look like one once.
	sameStrikes = 3
)

// timelineSettings compares what is kept of a timeline beside messages and cursors.
func (a *audit) timelineSettings(ctx context.Context, id tidemark.TimelineID) error {
	for _, setting := range []settingOf{attributesOf, recipientsOf} {
		if err := a.same(ctx, id, setting); errors.Is(err, tidemark.ErrTimelineNotFound) {
			return nil // it was deleted meanwhile
		} else if err != nil {
			return err
		}
	}
	return nil
}

// same compares a setting of the first node with that of each other one.
func (a *audit) same(ctx context.Context, id tidemark.TimelineID, setting settingOf) error {
	for other := 1; other < len(a.nodes); other++ {
		if err := a.sameOn(ctx, id, setting, other); err != nil {
			return err
		}
	}
	return nil
}

// sameOn reads a setting from the first node, from the other one at the position of that,
// and from the first again: if that shows the same twice, the other must have shown it in
// between.
func (a *audit) sameOn(ctx context.Context, id tidemark.TimelineID, setting settingOf, other int) error {
	strikes := 0
	for range sameAttempts {
		var shown [3]string
		for turn, at := range [3]int{0, other, 0} {
			level := client.Linearizable()
			if at != 0 {
				level = client.SessionAt(a.nodes[0].Position())
			}
			var err error
			if shown[turn], err = setting(ctx, a.nodes[at], id, level); err != nil {
				return fmt.Errorf("%s: %w", a.Endpoints[at], err)
			}
		}
		switch {
		case shown[0] != shown[2]:
			continue
		case shown[0] == shown[1]:
			return nil
		}
		if strikes++; strikes == sameStrikes {
			return &Difference{Timeline: id, One: a.Endpoints[0], Other: a.Endpoints[other], WhatOne: shown[0], WhatOther: shown[1]}
		}
	}
	return fmt.Errorf("%s: its settings change so often that they cannot be compared", id)
}

func attributesOf(ctx context.Context, node *client.Client, id tidemark.TimelineID, level client.Consistency) (string, error) {
	head, err := node.Timeline(ctx, id, level)
	var list []string
	for _, key := range slices.Sorted(maps.Keys(head.Attributes)) {
		list = append(list, fmt.Sprintf("%q=%q", key, head.Attributes[key]))
	}
	return "the attributes [" + strings.Join(list, " ") + "]", err
}

func recipientsOf(ctx context.Context, node *client.Client, id tidemark.TimelineID, level client.Consistency) (string, error) {
	n, all := 0, sha256.New()
	for inbox, err := range node.Recipients(ctx, id, level) {
		if err != nil {
			return "", err
		}
		n++
		fmt.Fprintln(all, inbox)
	}
	return fmt.Sprintf("%d recipients with the checksum %x", n, all.Sum(nil)[:8]), nil
}

func policiesOf(ctx context.Context, node *client.Client, _ tidemark.TimelineID, level client.Consistency) (string, error) {
	policies, err := node.Policies(ctx, level)
	return fmt.Sprintf("the policies %+v", policies), err
}
