package bench

import (
	"context"
	"fmt"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/bench/htmlreport"
	"tidemark/cmd/tidemark/internal/bench/imday"
	"tidemark/internal/load"
)

// MixedConfig says how to measure the day of an instant messenger, which package imday makes up.
type MixedConfig struct {
	Plan
	// Users are as many as the day has, scaled down from imday.MaxUsers. Seed makes another
	// day.
	Users int
	Seed  uint64
	// Mix is how many operations of a hundred are of each kind.
	Mix imday.Mix
	// History is how many messages a conversation has in the mean before anything is measured,
	// and Payload the size of each message.
	History, Payload int
}

// MixedReport is what was measured.
type MixedReport struct {
	Conditions
	Users   int       `json:"users"`
	Seed    uint64    `json:"seed"`
	Mix     imday.Mix `json:"mix"`
	History int       `json:"messages_per_conversation_before"`
	Payload int       `json:"payload_bytes"`
	// Direct and Groups are how many conversations there are, Members how many all groups have
	// together, and Largest how many the largest.
	Direct  int            `json:"direct_conversations"`
	Groups  int            `json:"groups"`
	Members int            `json:"group_members"`
	Largest int            `json:"largest_group"`
	Runs    []MixedMeasure `json:"runs"`
}

// MixedMeasure is one run, of all operations.
type MixedMeasure struct {
	Run
	Kinds []MixedKind `json:"kinds"`
}

// MixedKind is what came of operations of one kind.
type MixedKind struct {
	Kind string `json:"kind"`
	load.Measured
	// Items come of them in a second: messages that were appended, entries of inboxes, messages
	// that were read, cursors, or messages that were new to a device.
	Items float64 `json:"items_per_second"`
}

// itemNames are those of the Items of each kind.
var itemNames = map[string]string{
	imday.Direct.String(): "messages", imday.Group.String(): "inbox entries", imday.Read.String(): "messages",
	imday.Ack.String(): "cursors", imday.Sync.String(): "messages",
}

const maxHistory = 1000

// Validate names the first field that is out of range.
func (c *MixedConfig) Validate() error {
	if err := c.Plan.Validate(); err != nil {
		return err
	}
	switch {
	case c.Users < imday.MinUsers || c.Users > imday.MaxUsers:
		return tidemark.Invalid("users", "must be %d to %d; it is %d", imday.MinUsers, imday.MaxUsers, c.Users)
	case c.History < 1 || c.History > maxHistory:
		return tidemark.Invalid("history", "must be 1 to %d messages; it is %d", maxHistory, c.History)
	}
	if err := validPayload(c.Payload); err != nil {
		return err
	}
	return c.Mix.Validate()
}

// Mixed makes up a day, fills its conversations and measures it.
func Mixed(ctx context.Context, c MixedConfig) (*MixedReport, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	sdk, err := client.New(c.Endpoints)
	if err != nil {
		return nil, err
	}
	defer sdk.Close()
	m := newMessenger(&c, sdk)
	if err := m.prepare(ctx); err != nil {
		return nil, err
	}
	report := &MixedReport{
		Conditions: c.conditions(), Users: c.Users, Seed: c.Seed, Mix: c.Mix, History: c.History, Payload: c.Payload,
		Direct: m.day.Direct(), Groups: m.day.Groups(), Members: m.day.Memberships(), Largest: m.day.Largest(),
	}
	for repeat := range c.Repeats {
		run, err := c.measure(ctx, m, repeat)
		if err != nil {
			return nil, err
		}
		run.Repeat = repeat + 1
		report.Runs = append(report.Runs, run)
		c.say("%d of %d: %.0f operations/s", run.Repeat, c.Repeats, run.PerSecond)
	}
	return report, nil
}

func (c *MixedConfig) measure(ctx context.Context, m *messenger, repeat int) (run MixedMeasure, err error) {
	dice := make([]*imday.Dice, c.Callers)
	for caller := range dice {
		dice[caller] = m.day.NewDice(c.Mix, repeat, caller)
	}
	var items [imday.Kinds]perCall
	all, each, used, err := c.runKinds(ctx, int(imday.Kinds), func(ctx context.Context, caller int) (int, error) {
		operation := dice[caller].Next()
		n, err := m.do(ctx, &operation)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", operation.Kind, err)
		}
		items[operation.Kind].add(n)
		return int(operation.Kind), nil
	})
	if err != nil {
		return run, err
	}
	run.Measured, run.Servers = all, used.per("operation", float64(all.Calls))
	for kind, measured := range each {
		if measured.Calls > 0 {
			run.Kinds = append(run.Kinds, MixedKind{Kind: imday.Kind(kind).String(), Measured: measured, Items: measured.PerSecond * items[kind].mean()})
		}
	}
	return run, nil
}

// Page implements Report.
func (r *MixedReport) Page() htmlreport.Page {
	show := newRuns("OPERATIONS/S", "ITEMS/S")
	for i := range r.Runs {
		run := &r.Runs[i]
		name := r.name("all", run.Repeat)
		show.add(name, run.Measured, 1, wholeNumber(run.PerSecond), "")
		show.use(name, run.Servers)
		for j := range run.Kinds {
			k := &run.Kinds[j]
			show.add(r.name(k.Kind, run.Repeat), k.Measured, 1, wholeNumber(k.PerSecond), wholeNumber(k.Items)+" "+itemNames[k.Kind])
		}
	}
	return show.page("operations/s", r.settings(
		numberSetting("users", r.Users), numberSetting("direct conversations", r.Direct), numberSetting("groups", r.Groups),
		numberSetting("members of all groups", r.Members), numberSetting("members of the largest", r.Largest),
		numberSetting("messages of a conversation before, in the mean", r.History), numberSetting("bytes of a message", r.Payload),
		htmlreport.Setting{Name: "operations", Value: r.Mix.String()}, htmlreport.Setting{Name: "seed", Value: fmt.Sprint(r.Seed)},
	))
}
