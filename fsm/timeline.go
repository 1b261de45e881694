package fsm

import (
	"slices"

	"tidemark"
)

// trim applies one Trim.
func (t *transition) trim(c *Trim) (TrimResult, error) {
	head, err := t.existing(c.Timeline)
	if head == nil {
		return TrimResult{Err: err}, nil
	}
	if err != nil {
		return TrimResult{}, err
	}
	if c.First == 0 || c.First > head.Last+1 {
		return TrimResult{Err: tidemark.Invalid("first_seq_id", "is %d; limit is 1 to %d, the next sequence id", c.First, head.Last+1)}, nil
	}
	before := head.First
	if first := min(c.First, before+rule4TrimMessages); first > before {
		if err := t.batch.Trim(head, first); err != nil {
			return TrimResult{}, err
		}
		t.batch.PutHead(*head)
	}
	trimmed := uint64(head.First - before)
	t.delivered += int(trimmed)
	return TrimResult{Head: *head, Trimmed: trimmed}, nil
}

// deleteTimeline applies one DeleteTimeline.
func (t *transition) deleteTimeline(c *DeleteTimeline) (DeleteTimelineResult, error) {
	head, err := t.existing(c.Timeline)
	if head == nil {
		return DeleteTimelineResult{Err: err}, nil
	}
	if err != nil {
		return DeleteTimelineResult{}, err
	}
	if c.Expected != nil && *c.Expected != head.Last {
		return DeleteTimelineResult{Err: &tidemark.SequenceConflictError{Expected: *c.Expected, Last: head.Last, First: head.First}}, nil
	}
	result := DeleteTimelineResult{Head: *head}
	writes, err := t.batch.DeleteTimeline(head)
	if err != nil {
		return DeleteTimelineResult{}, err
	}
	t.delivered += writes
	t.batch.PutHead(*head)
	return result, nil
}

// existing is the head of a timeline, or nil with what is wrong about the request. An
// error beside a head is one of the store.
func (t *transition) existing(id tidemark.TimelineID) (*tidemark.Head, error) {
	if err := checkName(string(id), rule1TimelineIDBytes, whole, "timeline"); err != nil {
		return nil, err
	}
	head, exists, err := t.batch.Head(id)
	if err == nil && !exists {
		return nil, tidemark.ErrTimelineNotFound
	}
	return &head, err
}

// updateTimeline applies one UpdateTimeline.
func (t *transition) updateTimeline(c *UpdateTimeline) (UpdateTimelineResult, error) {
	if err := checkName(string(c.Timeline), rule1TimelineIDBytes, whole, "timeline"); err != nil {
		return UpdateTimelineResult{Err: err}, nil
	}
	head, exists, err := t.batch.Head(c.Timeline)
	if err != nil {
		return UpdateTimelineResult{}, err
	}
	var before tidemark.Attributes
	if exists {
		if before, err = t.batch.Attributes(head.Number); err != nil {
			return UpdateTimelineResult{}, err
		}
	}
	after := merge(before, c)
	if size := after.Size(); size > rule1AttributesBytes {
		return UpdateTimelineResult{Err: tidemark.Invalid("set", "would make %d bytes of attributes; limit is %d bytes", size, rule1AttributesBytes)}, nil
	}
	if err := checkAttributes(after, whole); err != nil {
		return UpdateTimelineResult{Err: err}, nil
	}
	if !exists {
		head = t.batch.CreateTimeline(c.Timeline, t.time)
	}
	if !slices.Equal(before, after) {
		err = t.batch.SetAttributes(head.Number, after)
	}
	return UpdateTimelineResult{Head: head, Attributes: after}, err
}

// merge is what the attributes are after a change, in the order of their keys.
func merge(before tidemark.Attributes, c *UpdateTimeline) tidemark.Attributes {
	var after tidemark.Attributes
	for _, attribute := range before {
		changed := slices.ContainsFunc(c.Set, func(a tidemark.Attribute) bool { return a.Key == attribute.Key })
		if !changed && !slices.Contains(c.Remove, attribute.Key) {
			after = append(after, attribute)
		}
	}
	after = append(after, c.Set...)
	slices.SortFunc(after, func(a, b tidemark.Attribute) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return after
}

// setPolicy applies one SetPolicy.
func (t *transition) setPolicy(c *SetPolicy) (SetPolicyResult, error) {
	p := &c.Policy
	if p.Prefix != "" {
		if err := checkName(p.Prefix, rule1TimelineIDBytes, whole, "prefix"); err != nil {
			return SetPolicyResult{Err: err}, nil
		}
	}
	if n := len(p.AckedBy); n > rule5PolicyReaders {
		return SetPolicyResult{Err: tidemark.Invalid("acked_by", "has %d readers; limit is %d readers", n, rule5PolicyReaders)}, nil
	}
	for _, reader := range p.AckedBy {
		if err := checkName(string(reader), rule1ReaderIDBytes, whole, "acked_by"); err != nil {
			return SetPolicyResult{Err: err}, nil
		}
	}
	others, err := t.batch.CountPolicies(p.Prefix)
	if err != nil {
		return SetPolicyResult{}, err
	}
	if !p.Empty() && others >= rule5Policies {
		return SetPolicyResult{Err: tidemark.Invalid("prefix", "would be that of policy %d; limit is %d policies", others+1, rule5Policies)}, nil
	}
	return SetPolicyResult{}, t.batch.SetPolicy(p)
}
