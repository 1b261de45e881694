// Package imday makes up what the users of an instant messenger do in a day: who talks to
// whom, how large groups are, which conversations are hot, and which operation comes next.
// The same seed makes the same day. It calls nobody.
//
// The shape is that of 1,000,000 users, and is kept when there are fewer: for each user five
// direct conversations (so each is in ten) and a fifth of a group. Sizes of groups have a
// long tail (Pareto): half have at most five members, one in a thousand has a thousand, the
// largest 5,000. Conversations are hot and cold (Zipf): of 50,000 the hottest has one message
// in sixty, and the colder half have one in twenty together.
package imday

import (
	"iter"
	"math"
	"math/rand/v2"
	"slices"
)

const (
	// MinUsers make up groups, and MaxUsers is the scale that others are scaled down from.
	MinUsers = 10
	MaxUsers = 1_000_000
	// directPerUser is how many direct conversations there are for each user, and usersPerGroup
	// how many users for each group.
	directPerUser = 5
	usersPerGroup = 5
	// smallestGroup and LargestGroup bound the members of a group, whose number is that of a
	// Pareto distribution with this exponent.
	smallestGroup = 3
	LargestGroup  = 5000
	sizeExponent  = 1.2
	// Of conversations by their heat the one of rank k has a share of (k + heatFlat)^-heatExponent.
	// Without heatFlat, the hottest would have a seventh of everything.
	heatExponent = 1.1
	heatFlat     = 10
)

// Day is who talks to whom. Users and conversations are numbers from 0; direct conversations
// come before groups, and of both the hotter ones first.
type Day struct {
	Users  int
	seed   uint64
	direct [][2]int32
	groups []group
	// ofUser has the direct conversations of each user.
	ofUser [][]int32
}

// group has the members at the first places of a walk over all users.
type group struct {
	size int
	walk Walk
}

// NewDay makes up who talks to whom.
func NewDay(users int, seed uint64) *Day {
	d := &Day{Users: users, seed: seed, ofUser: make([][]int32, users)}
	random := d.random(0)
	for i := range users * directPerUser {
		pair := NewWalk(users, random.IntN)
		a, b := int32(pair.At(0)), int32(pair.At(1))
		d.direct = append(d.direct, [2]int32{a, b})
		d.ofUser[a], d.ofUser[b] = append(d.ofUser[a], int32(i)), append(d.ofUser[b], int32(i))
	}
	for range users / usersPerGroup {
		d.groups = append(d.groups, group{groupSize(random.Float64(), min(users, LargestGroup)), NewWalk(users, random.IntN)})
	}
	return d
}

// random is a source of its own for each use.
func (d *Day) random(use uint64) *rand.Rand { return rand.New(rand.NewPCG(d.seed, use)) }

// groupSize is the inverse of the distribution of sizes, cut off at the largest.
func groupSize(share float64, largest int) int {
	low, high := math.Pow(smallestGroup, sizeExponent), math.Pow(float64(largest)+1, sizeExponent)
	return min(int(math.Pow(low/(1-share*(1-low/high)), 1/sizeExponent)), largest)
}

// Direct is how many direct conversations there are, and Groups how many groups.
func (d *Day) Direct() int { return len(d.direct) }
func (d *Day) Groups() int { return len(d.groups) }

// Conversations is how many there are.
func (d *Day) Conversations() int { return d.Direct() + d.Groups() }

// IsGroup says whether a conversation is a group.
func (d *Day) IsGroup(conversation int) bool { return conversation >= d.Direct() }

// Size is how many members a conversation has.
func (d *Day) Size(conversation int) int {
	if d.IsGroup(conversation) {
		return d.groups[conversation-d.Direct()].size
	}
	return 2
}

// Member is one of them, from 0.
func (d *Day) Member(conversation, i int) int {
	if d.IsGroup(conversation) {
		return d.groups[conversation-d.Direct()].walk.At(i)
	}
	return int(d.direct[conversation][i])
}

// Members are the users in a conversation, each once.
func (d *Day) Members(conversation int) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		for i := range d.Size(conversation) {
			if !yield(i, d.Member(conversation, i)) {
				return
			}
		}
	}
}

// DirectOf are the direct conversations of a user.
func (d *Day) DirectOf(user int) []int32 { return d.ofUser[user] }

// Memberships is how many members all groups have together.
func (d *Day) Memberships() (sum int) {
	for _, g := range d.groups {
		sum += g.size
	}
	return sum
}

// Largest is how many members the largest group has.
func (d *Day) Largest() int {
	return slices.MaxFunc(d.groups, func(a, b group) int { return a.size - b.size }).size
}

// History is how many messages each conversation has before the day begins: one, and more the
// hotter it is, so that they have mean together, each.
func (d *Day) History(mean int) []int {
	random := d.random(1)
	history := make([]int, d.Conversations())
	for _, part := range [][]int{history[:d.Direct()], history[d.Direct():]} {
		heat := newHeat(random, len(part))
		for range len(part) * (mean - 1) {
			part[heat.Uint64()]++
		}
	}
	for i := range history {
		history[i]++
	}
	return history
}

func newHeat(random *rand.Rand, n int) *rand.Zipf {
	return rand.NewZipf(random, heatExponent, heatFlat, uint64(n-1))
}

// Walk visits each number below n once, in steps of one size from a random place.
type Walk struct{ start, step, n int }

// NewWalk draws one. random returns a number below the one that it is given.
func NewWalk(n int, random func(int) int) Walk {
	w := Walk{start: random(n), step: 1, n: n}
	if n > 2 {
		for w.step = 1 + random(n-1); gcd(w.step, n) > 1; w.step = 1 + random(n-1) {
		}
	}
	return w
}

// At is where the walk is after i steps.
func (w Walk) At(i int) int { return (w.start + i*w.step) % w.n }

func gcd(a, b int) int {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}
