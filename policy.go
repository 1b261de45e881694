package tidemark

import (
	"strings"
	"time"
)

// Policy says which messages of the timelines with a prefix may be trimmed: those for which
// every condition that is given allows it. A policy without a condition trims nothing.
// Of several policies the one with the longest prefix holds, alone.
type Policy struct {
	// Prefix is what ids of timelines start with; "" for all.
	Prefix string
	// MaxAge allows messages that are older, by their server times and the leader's clock.
	MaxAge time.Duration
	// MaxMessages allows messages beyond the newest so many, and MaxBytes those without
	// which the timeline, as Head.Bytes counts it, has still at least so many.
	MaxMessages, MaxBytes uint64
	// AckedByAll allows messages that every cursor of the timeline has delivered; without
	// any cursor, none. AckedBy allows those that each of these readers has delivered.
	AckedByAll bool
	AckedBy    []ReaderID
	// KeepAtLeast never lets the newest so many go.
	KeepAtLeast uint64
}

// Empty says that the policy has no condition, and so trims nothing.
func (p *Policy) Empty() bool {
	return p.MaxAge == 0 && p.MaxMessages == 0 && p.MaxBytes == 0 && !p.AckedByAll && len(p.AckedBy) == 0
}

// Validate reports an *InvalidError that names the field of the API.
func (p *Policy) Validate() error {
	if p.Prefix != "" {
		if err := TimelineID(p.Prefix).Validate("prefix"); err != nil {
			return err
		}
	}
	if p.MaxAge < 0 || p.MaxAge%time.Millisecond != 0 {
		return Invalid("max_age", "must be whole milliseconds, and not negative; it is %v", p.MaxAge)
	}
	if len(p.AckedBy) > MaxPolicyReaders {
		return Invalid("acked_by", "has %d readers; limit is %d readers", len(p.AckedBy), MaxPolicyReaders)
	}
	seen := make(map[ReaderID]bool, len(p.AckedBy))
	for _, reader := range p.AckedBy {
		if err := reader.Validate("acked_by"); err != nil {
			return err
		}
		if seen[reader] {
			return Invalid("acked_by", "has %q twice", reader)
		}
		seen[reader] = true
	}
	return nil
}

// LongestPolicy is the policy that holds for the timeline, or nil.
func LongestPolicy(policies []Policy, id TimelineID) (longest *Policy) {
	for i := range policies {
		p := &policies[i]
		if strings.HasPrefix(string(id), p.Prefix) && (longest == nil || len(p.Prefix) > len(longest.Prefix)) {
			longest = p
		}
	}
	return longest
}
