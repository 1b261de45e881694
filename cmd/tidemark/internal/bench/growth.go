package bench

import (
	"context"
	"fmt"
	"slices"

	"tidemark"
)

// What can grow, while the rest stays as it is.
const (
	// GrowMessages is one cluster that gets more and more messages, and timelines with them.
	GrowMessages = "messages"
	// GrowTimelines is the same number of messages in more and more timelines.
	GrowTimelines = "timelines"
	// GrowPayloads is the same number of bytes in larger and larger messages.
	GrowPayloads = "payloads"
	// GrowTails is the same cluster with more and more subscriptions on a follower.
	GrowTails = "tails"
)

// GrowthDimensions are all of them, in the order in which they are measured.
func GrowthDimensions() []string {
	return []string{GrowMessages, GrowTimelines, GrowPayloads, GrowTails}
}

// GrowthConfig says what is to grow, and how far. The Target is not used: each dimension has
// clusters of its own, because nodes are stopped, killed and added.
type GrowthConfig struct {
	Plan
	// Binary is run as Nodes nodes, with ServeFlags behind those that each needs. Their data
	// is in a new directory below Dir, or where the system keeps such things if that is empty.
	Binary     string
	Nodes      int
	ServeFlags []string
	Dir        string
	// Dimensions are some of GrowthDimensions. The lists of the same name say how far each
	// grows, in steps.
	Dimensions                           []string
	Messages, Timelines, Payloads, Tails []int
	// Payload is the size of each message where it does not grow; FixedMessages is how many
	// there are while timelines grow, and FixedBytes how many bytes while payloads do.
	Payload, FixedMessages, FixedBytes int
	// Page is how many messages a read asks for. Where a timeline has fewer at some step, or as
	// many are more than pageBytes, a read asks for so few at every step of the dimension, so
	// that all read alike.
	Page int
	// Burst is how many messages a node misses before it catches up, and how many come just
	// before it is killed. Large ones are fewer: burstBytes together.
	Burst int
	// Measured, if not nil, is called with each dimension when it is measured.
	Measured func(GrowthDimension) error
}

const (
	// pageBytes bounds a page: callers at a time hold as many of them.
	pageBytes = 256 << 10
	// burstBytes is so little that the log which nodes keep has it.
	burstBytes = 16 << 20
	// logBytes bounds that log, so that a node which joins a large cluster gets a snapshot.
	logBytes = "64MiB"
	// payloadTimelines share what there is while payloads grow, fewestOfPayload is how many
	// messages there are at least, and mostOfPayload at most.
	payloadTimelines               = 100
	fewestOfPayload, mostOfPayload = 1000, 100_000
	// tailTimelines are appended to and read while there are tails of others, and have at
	// most tailMessages each.
	tailTimelines, tailMessages = 1000, 100
)

// GrowthReport is what was measured.
type GrowthReport struct {
	Dimensions []GrowthDimension `json:"dimensions"`
}

// GrowthDimension is what was measured while one thing grew.
type GrowthDimension struct {
	Name string `json:"name"`
	Conditions
	// Machine is where the nodes and the load ran.
	Machine    string       `json:"machine"`
	Nodes      int          `json:"nodes"`
	ServeFlags []string     `json:"serve_flags,omitempty"`
	PageSize   int          `json:"page"`
	Steps      []GrowthStep `json:"steps"`
}

// Validate names the first field that is out of range.
func (c *GrowthConfig) Validate() error {
	if err := c.Load.Validate(); err != nil {
		return err
	}
	if err := validNames("dimensions", c.Dimensions, GrowthDimensions()); err != nil {
		return err
	}
	for _, list := range []struct {
		field       string
		values      []int
		least, most int
	}{
		{"local", []int{c.Nodes}, 3, 5}, {"payload", []int{c.Payload}, 1, tidemark.MaxPayloadBytes},
		{"page", []int{c.Page}, 1, tidemark.MaxPageMessages}, {"burst", []int{c.Burst}, 1, 1_000_000},
		{"fixed-messages", []int{c.FixedMessages}, 1, 1_000_000_000}, {"fixed-bytes", []int{c.FixedBytes}, 1, 1 << 40},
		{"messages", c.Messages, 1, 1_000_000_000}, {"timelines", c.Timelines, 1, 10_000_000},
		{"payloads", c.Payloads, 1, tidemark.MaxPayloadBytes}, {"tails", c.Tails, 0, tidemark.MaxTailSubscriptions},
	} {
		if err := validSteps(list.field, list.values, list.least, list.most); err != nil {
			return err
		}
	}
	if c.Timeout <= 0 {
		return tidemark.Invalid("timeout", "must be more than 0; it is %v", c.Timeout)
	}
	return nil
}

// validSteps refuses what does not rise within bounds.
func validSteps(field string, values []int, least, most int) error {
	if len(values) == 0 {
		return tidemark.Invalid(field, "must not be empty")
	}
	for i, value := range values {
		if value < least || value > most {
			return tidemark.Invalid(field, "must be %d to %d; it is %d", least, most, value)
		}
		if i > 0 && value <= values[i-1] {
			return tidemark.Invalid(field, "must rise; %d follows on %d", value, values[i-1])
		}
	}
	return nil
}

// Growth measures each dimension.
func Growth(ctx context.Context, c GrowthConfig) (*GrowthReport, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	report := &GrowthReport{}
	for _, name := range GrowthDimensions() {
		if !slices.Contains(c.Dimensions, name) {
			continue
		}
		d, err := c.dimension(ctx, name)
		if err == nil && c.Measured != nil {
			err = c.Measured(d)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		report.Dimensions = append(report.Dimensions, d)
	}
	return report, nil
}

// dimension has one thing grow.
func (c *GrowthConfig) dimension(ctx context.Context, name string) (GrowthDimension, error) {
	d := GrowthDimension{Name: name, Conditions: c.conditions(), Machine: machine().Value, Nodes: c.Nodes, ServeFlags: c.ServeFlags}
	clusters := c.clusters(name)
	d.PageSize = c.Page
	for _, sizes := range clusters {
		for _, size := range sizes {
			d.PageSize = min(d.PageSize, size.each, max(pageBytes/size.payload, 1))
		}
	}
	for _, sizes := range clusters {
		err := c.onCluster(ctx, func(g *growing) error {
			for _, size := range sizes {
				size.page = d.PageSize
				step, err := g.step(ctx, size)
				if err != nil {
					return fmt.Errorf("%+v: %w", size, err)
				}
				d.Steps = append(d.Steps, step)
			}
			return nil
		})
		if err != nil {
			return d, err
		}
	}
	return d, nil
}

// size is what a cluster is to be grown to.
type size struct {
	// timelines have so many messages each, of so many bytes.
	timelines, each, payload int
	// tails follow other timelines, one each.
	tails int
	// page is how many messages a read asks for.
	page int
	// long says that what takes long is measured too: start-ups, snapshots, catching up.
	long bool
}

// clusters says how far the cluster, or each of several, is to be grown.
func (c *GrowthConfig) clusters(dimension string) (clusters [][]size) {
	switch dimension {
	case GrowMessages:
		// The most messages are in the most timelines, and fewer in as many fewer.
		each := max(c.Messages[len(c.Messages)-1]/c.Timelines[len(c.Timelines)-1], 1)
		var sizes []size
		for _, messages := range c.Messages {
			sizes = append(sizes, size{timelines: (messages + each - 1) / each, each: each, payload: c.Payload, long: true})
		}
		return [][]size{sizes}
	case GrowTimelines:
		for _, timelines := range c.Timelines {
			clusters = append(clusters, []size{{timelines: timelines, each: max(c.FixedMessages/timelines, 1), payload: c.Payload, long: true}})
		}
	case GrowPayloads:
		for _, payload := range c.Payloads {
			messages := min(max(c.FixedBytes/payload, fewestOfPayload), mostOfPayload)
			clusters = append(clusters, []size{{timelines: payloadTimelines, each: messages / payloadTimelines, payload: payload, long: true}})
		}
	case GrowTails:
		var sizes []size
		each := min(max(c.FixedMessages/tailTimelines, 1), tailMessages)
		for _, tails := range c.Tails {
			sizes = append(sizes, size{timelines: tailTimelines, each: each, payload: c.Payload, tails: tails})
		}
		return [][]size{sizes}
	}
	return clusters
}
