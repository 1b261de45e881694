package bench

import (
	"fmt"

	"tidemark"
)

// Target is what is measured.
type Target struct {
	// Endpoints are the client addresses of the cluster, and HTTP the addresses at which
	// the same nodes serve their metrics, in the same order.
	Endpoints, HTTP []string
	// Prefix is what the names of the timelines begin with. Those must be new.
	Prefix string
}

func (t *Target) validate() error {
	if len(t.Endpoints) == 0 || len(t.HTTP) != len(t.Endpoints) {
		return tidemark.Invalid("http", "must name as many addresses as endpoints: %d, not %d", len(t.Endpoints), len(t.HTTP))
	}
	return nil
}

// timeline is the one with a number.
func (t *Target) timeline(n int) tidemark.TimelineID {
	return tidemark.TimelineID(fmt.Sprintf("%s/%d", t.Prefix, n))
}
