package peer

import (
	"log/slog"
	"sync"
	"time"
)

// refusalLogInterval is how often a refusal of one reason is logged. Raft redials
// several times a second, and strangers as often as they like.
const refusalLogInterval = 10 * time.Second

// refusalLog writes the first refusal of each reason and direction in an interval,
// and says how many it left out since.
type refusalLog struct {
	logger *slog.Logger

	mu   sync.Mutex
	seen map[refusalKey]*refusalCount
}

type refusalKey struct {
	reason  Reason
	inbound bool
}

type refusalCount struct {
	last    time.Time
	omitted int
}

func (l *refusalLog) log(r Refusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[refusalKey]*refusalCount{}
	}
	key := refusalKey{r.Reason, r.Inbound}
	// Reasons that this version does not know share one counter, so that another
	// node cannot make the map grow.
	key.reason = min(key.reason, reasonCount)
	count, ok := l.seen[key]
	now := time.Now()
	if ok && now.Sub(count.last) < refusalLogInterval {
		count.omitted++
		return
	}
	if !ok {
		count = &refusalCount{}
		l.seen[key] = count
	}
	l.logger.Warn("connection between nodes was refused",
		"peer", r.Peer, "inbound", r.Inbound, "reason", r.Reason.String(), "detail", r.Detail, "omitted", count.omitted)
	*count = refusalCount{last: now}
}
