package fsm

import "strconv"

// place is where in a command something stands: an item of a batch, or the
// command itself. It names fields for errors, without cost when there is none.
type place int

// whole is the place of a command that has no items.
const whole place = -1

// String is items[3], or nothing for whole.
func (p place) String() string {
	if p == whole {
		return ""
	}
	return "items[" + strconv.Itoa(int(p)) + "]"
}

// field is the API's name of a field at the place: payload, items[3].payload.
func (p place) field(name string) string {
	if p == whole {
		return name
	}
	return p.String() + "." + name
}
