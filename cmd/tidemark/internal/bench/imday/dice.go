package imday

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"tidemark"
)

// Kind is what a user does.
type Kind int

const (
	// Direct sends a message to a direct conversation.
	Direct Kind = iota
	// Group sends a message to a group, and so to the inboxes of its members.
	Group
	// Read reads a page of a conversation.
	Read
	// Ack says how far a user has read in a conversation.
	Ack
	// Sync asks what is new for a user whose device was away.
	Sync
	// Kinds is how many there are.
	Kinds
)

var kindNames = [Kinds]string{"direct", "group", "read", "ack", "sync"}

// String is the name of the kind in a Mix.
func (k Kind) String() string { return kindNames[k] }

// Mix is how many operations of a hundred are of each kind, by its name.
type Mix map[string]int

// DefaultMix has a message to a group, of fourteen members in the mean, for five direct ones;
// who gets messages reads and acknowledges them, often several at once.
func DefaultMix() Mix {
	return Mix{"direct": 20, "group": 4, "read": 36, "ack": 25, "sync": 15}
}

// Validate names what is wrong.
func (m Mix) Validate() error {
	sum := 0
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(kindNames[:], name) {
			return tidemark.Invalid("mix", "must be of %v; %q is not", kindNames, name)
		}
		if m[name] < 0 {
			return tidemark.Invalid("mix", "must not be negative; %s is %d", name, m[name])
		}
		sum += m[name]
	}
	if sum != 100 {
		return tidemark.Invalid("mix", "must be 100 together; it is %d", sum)
	}
	return nil
}

// String has the shares in the order of the kinds.
func (m Mix) String() (text string) {
	for kind := range Kinds {
		text += fmt.Sprintf(", %s %d %%", kind, m[kind.String()])
	}
	return text[2:]
}

const (
	// Page is how many messages a read asks for.
	Page = 50
	// nearTail is the share of reads of what came last: of reads that begin among the last
	// messages of a page. The others begin anywhere.
	nearTail = 0.9
	// groupShare is the share of groups among what is read and acknowledged: more people read a
	// message to a group.
	groupShare = 0.7
)

// Operation is what is done next.
type Operation struct {
	Kind Kind
	// User does it, who is a member of Conversation. A Sync is of all that the user has.
	User, Conversation int
	// near says that a read is near the tail, and place where among what it may begin with.
	near  bool
	place float64
}

// From is where a Read begins, in a conversation with that last message.
func (o *Operation) From(last uint64) uint64 {
	if o.near {
		return last - uint64(o.place*float64(min(last, Page)))
	}
	return 1 + uint64(o.place*float64(last))
}

// Dice draw operations. They are for one caller.
type Dice struct {
	day            *Day
	random         *rand.Rand
	direct, groups *rand.Zipf
	upTo           [Kinds]int // of a hundred
}

// NewDice draws the operations of a caller of a run.
func (d *Day) NewDice(mix Mix, run, caller int) *Dice {
	random := d.random(uint64(run)<<32 | uint64(caller) + 2)
	dice := &Dice{day: d, random: random, direct: newHeat(random, d.Direct()), groups: newHeat(random, d.Groups())}
	sum := 0
	for kind := range Kinds {
		sum += mix[kind.String()]
		dice.upTo[kind] = sum
	}
	return dice
}

// Next draws an operation.
func (d *Dice) Next() Operation {
	hundredth := d.random.IntN(100)
	o := Operation{Kind: Kind(slices.IndexFunc(d.upTo[:], func(upTo int) bool { return hundredth < upTo }))}
	switch o.Kind {
	case Direct:
		o.Conversation = d.directConversation()
	case Group:
		o.Conversation = d.group()
	case Read:
		o.Conversation = d.conversation()
		o.near, o.place = d.random.Float64() < nearTail, d.random.Float64()
	case Ack:
		o.Conversation = d.conversation()
	case Sync:
		o.User = d.random.IntN(d.day.Users)
		return o
	}
	o.User = d.day.Member(o.Conversation, d.random.IntN(d.day.Size(o.Conversation)))
	return o
}

func (d *Dice) directConversation() int { return int(d.direct.Uint64()) }

func (d *Dice) group() int { return d.day.Direct() + int(d.groups.Uint64()) }

func (d *Dice) conversation() int {
	if d.random.Float64() < groupShare {
		return d.group()
	}
	return d.directConversation()
}
