//go:build linux

package disk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Injection is a rule that is in force.
type Injection struct {
	rules *rules
	rule  Rule
	// errno is what operations fail with, or 0 to stall them for delay. It may be lie.
	errno syscall.Errno
	delay time.Duration

	healed chan struct{}
	// seen and hits count the operations that match, and those that were hit. They
	// are guarded by rules.mu.
	seen, hits int
}

// Hits returns how many operations the rule has hit.
func (i *Injection) Hits() int {
	i.rules.mu.Lock()
	defer i.rules.mu.Unlock()
	return i.hits
}

// Heal ends the rule. What it held up goes on.
func (i *Injection) Heal() { i.rules.remove(i) }

// lie is no error of the system: a sync is answered as done, and is not.
const lie syscall.Errno = 1 << 30

// rules are the injections in force, oldest first. Of several that hit an operation,
// all stalls take effect until one fails it.
type rules struct {
	// active is how many there are, so that operations need no lock while there are none.
	active atomic.Int32

	mu              sync.Mutex
	random          *rand.Rand
	list            []*Injection
	failed, stalled int
}

func (r *rules) seed(seed uint64) { r.random = rand.New(rand.NewPCG(seed, 0)) }

func (r *rules) add(i *Injection) (*Injection, error) {
	if p := i.rule.Probability; p < 0 || p > 1 {
		return nil, fmt.Errorf("rule: probability %v is not in [0, 1]", p)
	}
	if i.rule.Skip < 0 || i.rule.Count < 0 {
		return nil, fmt.Errorf("rule: skip %d or count %d is negative", i.rule.Skip, i.rule.Count)
	}
	if _, err := path.Match(i.rule.Path, ""); err != nil {
		return nil, fmt.Errorf("rule: path %q: %w", i.rule.Path, err)
	}
	if i.rule.Ops == 0 {
		i.rule.Ops = OpsAll
	}
	i.rules, i.healed = r, make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, i)
	r.active.Add(1)
	return i, nil
}

func (r *rules) remove(i *Injection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := slices.Index(r.list, i)
	if at < 0 {
		return
	}
	r.list = slices.Delete(r.list, at, at+1)
	r.active.Add(-1)
	close(i.healed)
}

func (r *rules) heal() {
	r.mu.Lock()
	list := slices.Clone(r.list)
	r.mu.Unlock()
	for _, i := range list {
		r.remove(i)
	}
}

// apply does to an operation what the rules say. ctx ends when its process is killed.
func (r *rules) apply(ctx context.Context, op Ops, paths []string) syscall.Errno {
	for _, i := range r.matching(op, paths) {
		if i.errno != 0 {
			return i.errno
		}
		if errno := i.hold(ctx); errno != 0 {
			return errno
		}
	}
	return 0
}

// matching returns the injections that hit the operation, and counts it.
func (r *rules) matching(op Ops, paths []string) []*Injection {
	r.mu.Lock()
	defer r.mu.Unlock()
	var hit []*Injection
	for _, i := range r.list {
		if !i.hit(op, paths) {
			continue
		}
		hit = append(hit, i)
		if i.errno != 0 {
			r.failed++
			break
		}
		r.stalled++
	}
	return hit
}

// hit decides whether the rule is of this operation. rules.mu is held.
func (i *Injection) hit(op Ops, paths []string) bool {
	matches := func(p string) bool { return Match(i.rule.Path, p) }
	if i.rule.Ops&op == 0 || !slices.ContainsFunc(paths, matches) {
		return false
	}
	i.seen++
	if i.seen <= i.rule.Skip || i.rule.Count > 0 && i.hits >= i.rule.Count {
		return false
	}
	if p := i.rule.Probability; p > 0 && i.rules.random.Float64() >= p {
		return false
	}
	i.hits++
	return true
}

// hold waits until the stall is over.
func (i *Injection) hold(ctx context.Context) syscall.Errno {
	var over <-chan time.Time
	if i.delay > 0 {
		timer := time.NewTimer(i.delay)
		defer timer.Stop()
		over = timer.C
	}
	gone, done := killed(ctx)
	defer done()
	select {
	case <-gone:
		return syscall.EINTR
	case <-i.healed:
	case <-over:
	}
	return 0
}

func (r *rules) counts() (failed, stalled int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed, r.stalled
}

// Match reports whether the path, relative to the mount, matches a Rule's pattern.
func Match(pattern, name string) bool {
	if pattern == "" {
		return true
	}
	if !strings.Contains(pattern, "/") && pattern != "**" {
		name = path.Base(name)
	}
	return matchElements(strings.Split(pattern, "/"), strings.Split(name, "/"))
}

func matchElements(pattern, name []string) bool {
	if len(pattern) == 0 {
		return len(name) == 0
	}
	if pattern[0] == "**" {
		for skip := range len(name) + 1 {
			if matchElements(pattern[1:], name[skip:]) {
				return true
			}
		}
		return false
	}
	if len(name) == 0 {
		return false
	}
	ok, err := path.Match(pattern[0], name[0])
	return err == nil && ok && matchElements(pattern[1:], name[1:])
}

// Fail lets operations fail with errno, without effect.
func (d *Disk) Fail(rule Rule, errno syscall.Errno) (*Injection, error) {
	if errno == 0 || errno == syscall.ENOSYS {
		// The kernel never asks again for what it takes to be missing.
		return nil, fmt.Errorf("rule: cannot fail with %d (%w)", errno, errno)
	}
	return d.rules.add(&Injection{rule: rule, errno: errno})
}

// Lie answers syncs as done that keep nothing.
func (d *Disk) Lie(rule Rule) (*Injection, error) {
	if rule.Ops &= OpsSync; rule.Ops == 0 {
		rule.Ops = OpsSync
	}
	return d.rules.add(&Injection{rule: rule, errno: lie})
}

// Stall holds operations up for delay before they are done, or until healed if it is 0.
func (d *Disk) Stall(rule Rule, delay time.Duration) (*Injection, error) {
	if delay < 0 {
		return nil, fmt.Errorf("rule: delay %v is negative", delay)
	}
	return d.rules.add(&Injection{rule: rule, delay: delay})
}
