package imday

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"tidemark"
)

// A day keeps its shape whatever its scale: sizes of groups have a long tail, with all members
// different.
func TestShape(t *testing.T) {
	for _, users := range []int{MinUsers, 1000, 100_000} {
		d := NewDay(users, 1)
		if d.Direct() != 5*users || d.Groups() != users/5 || d.Conversations() != d.Direct()+d.Groups() {
			t.Fatalf("%d users have %d direct conversations and %d groups", users, d.Direct(), d.Groups())
		}
		var sizes []int
		for conversation := range d.Conversations() {
			seen := map[int]bool{}
			for _, user := range d.Members(conversation) {
				if user < 0 || user >= users || seen[user] {
					t.Fatalf("user %d is in conversation %d of %d users, twice: %v", user, conversation, users, seen[user])
				}
				seen[user] = true
			}
			if !d.IsGroup(conversation) && len(seen) != 2 {
				t.Fatalf("direct conversation %d has %d members", conversation, len(seen))
			}
			if d.IsGroup(conversation) {
				sizes = append(sizes, len(seen))
			}
		}
		slices.Sort(sizes)
		if sizes[0] < smallestGroup || sizes[len(sizes)-1] > min(users, LargestGroup) || sizes[len(sizes)-1] != d.Largest() {
			t.Errorf("groups of %d users have %d to %d members, the largest %d", users, sizes[0], sizes[len(sizes)-1], d.Largest())
		}
		if users == 100_000 {
			median, large := sizes[len(sizes)/2], len(sizes)-indexOf(sizes, 1000)
			if median > 5 || large < len(sizes)/2000 || large > len(sizes)/500 || d.Largest() < 3000 {
				t.Errorf("the median is %d, %d of %d have a thousand members, and the largest has %d", median, large, len(sizes), d.Largest())
			}
			if mean := float64(d.Memberships()) / float64(d.Groups()); mean < 10 || mean > 18 {
				t.Errorf("groups have %.1f members in the mean", mean)
			}
		}
	}
}

func indexOf(sorted []int, n int) int {
	i, _ := slices.BinarySearch(sorted, n)
	return i
}

// What comes next is of the mix; conversations are hot and cold, users are members, and nine of
// ten reads are near the tail.
func TestDice(t *testing.T) {
	d := NewDay(10_000, 7)
	dice := d.NewDice(DefaultMix(), 0, 0)
	const draws, last = 300_000, 100_000
	kinds, heat := map[string]int{}, make([]int, d.Direct())
	near := 0
	for range draws {
		o := dice.Next()
		kinds[o.Kind.String()]++
		if o.Kind == Direct {
			heat[o.Conversation]++
		}
		if (o.Kind == Group) && !d.IsGroup(o.Conversation) || o.Kind == Direct && d.IsGroup(o.Conversation) {
			t.Fatalf("%+v", o)
		}
		if o.Kind != Sync && !member(d, o) {
			t.Fatalf("%+v is not by a member", o)
		}
		if o.Kind != Read {
			continue
		}
		if from := o.From(last); from < 1 || from > last {
			t.Fatalf("%+v from %d", o, from)
		} else if from > last-Page {
			near++
		}
		if o.From(1) != 1 {
			t.Fatalf("%+v from %d of 1", o, o.From(1))
		}
	}
	for name, share := range DefaultMix() {
		if got := 100 * float64(kinds[name]) / draws; got < float64(share)-0.5 || got > float64(share)+0.5 {
			t.Errorf("%s are %.1f %%, want %d", name, got, share)
		}
	}
	if share := float64(near) / float64(kinds["read"]); share < 0.89 || share > 0.91 {
		t.Errorf("%.3f of the reads are near the tail", share)
	}
	slices.SortFunc(heat, func(a, b int) int { return b - a })
	sum := func(counts []int) (n float64) {
		for _, count := range counts {
			n += float64(count)
		}
		return n / float64(kinds["direct"])
	}
	if hottest, coldHalf := sum(heat[:1]), sum(heat[len(heat)/2:]); hottest < 0.012 || hottest > 0.022 || coldHalf > 0.07 {
		t.Errorf("the hottest has %.3f of the messages, and the colder half %.3f", hottest, coldHalf)
	}
}

func member(d *Day, o Operation) bool {
	for _, user := range d.Members(o.Conversation) {
		if user == o.User {
			return true
		}
	}
	return false
}

// The same seed makes the same day, and another seed or caller another one.
func TestDeterministic(t *testing.T) {
	draw := func(seed uint64, run, caller int) (ops []Operation) {
		dice := NewDay(500, seed).NewDice(DefaultMix(), run, caller)
		for range 100 {
			ops = append(ops, dice.Next())
		}
		return ops
	}
	if !slices.Equal(draw(3, 0, 1), draw(3, 0, 1)) {
		t.Error("the same seed makes another day")
	}
	for _, other := range [][]Operation{draw(4, 0, 1), draw(3, 1, 1), draw(3, 0, 2)} {
		if slices.Equal(draw(3, 0, 1), other) {
			t.Error("another seed, run or caller makes the same day")
		}
	}
	if a, b := NewDay(500, 3), NewDay(500, 3); !slices.Equal(a.History(4), b.History(4)) || a.Memberships() != b.Memberships() {
		t.Error("the same seed makes other conversations")
	}
}

// Each conversation has a message, hot ones have many, and direct ones are those of their users.
func TestHistory(t *testing.T) {
	d := NewDay(1000, 1)
	history, sum := d.History(4), 0
	for _, n := range history {
		sum += n
	}
	if slices.Min(history) < 1 || sum != 4*d.Conversations() || history[0] < 50 || history[d.Direct()] < 10 {
		t.Errorf("%d messages, of the hottest conversation %d, of the hottest group %d", sum, history[0], history[d.Direct()])
	}
	for user := range d.Users {
		for _, conversation := range d.DirectOf(user) {
			if !member(d, Operation{User: user, Conversation: int(conversation)}) {
				t.Fatalf("user %d is not in conversation %d", user, conversation)
			}
		}
	}
}

func TestMix(t *testing.T) {
	if err := DefaultMix().Validate(); err != nil {
		t.Error(err)
	}
	for want, mix := range map[string]Mix{
		"mix must be 100 together; it is 99":           {"read": 99},
		`mix must be of [direct group read ack sync];`: {"write": 100},
		"mix must not be negative; ack is -1":          {"ack": -1, "read": 101},
	} {
		if err := mix.Validate(); !errors.Is(err, tidemark.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", mix, err)
		}
	}
	if got := (Mix{"read": 90, "sync": 10}).String(); got != "direct 0 %, group 0 %, read 90 %, ack 0 %, sync 10 %" {
		t.Error(got)
	}
}
