//go:build linux

package run

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"tidemark/jepsen/history"
)

// Options say what a run is.
type Options struct {
	// Nodes is how many nodes form the cluster: 1 or more.
	Nodes int
	// Mix names nemeses and mixes of them, Workloads what clients do (all, if empty).
	Mix, Workloads []string
	// Duration is how long the nemeses work, and Tail how long clients go on after
	// everything was healed.
	Duration, Tail time.Duration
	Seed           uint64
	// Rate is about how many operations the clients begin in a second while nothing
	// holds them up.
	Rate int
	// Hot and Cold are how many timelines there are.
	Hot, Cold int
	// Rounds is how often each nemesis has its turn; they end after that, and it is an
	// error if Duration did not suffice or one could do nothing. 0 lets them work for Duration.
	Rounds int
	// Trials, if not 0, is how often each nemesis of Mix, which are failovers then, is
	// tried, from calm to calm and one after the other, in place of Duration, Calm and
	// Hold. FailoverBound is how long nothing may be acknowledged meanwhile.
	Trials        int
	FailoverBound time.Duration
	// Calm and Hold are the mean times between two faults and until one is healed.
	Calm, Hold time.Duration
	// Patience bounds one operation of a client.
	Patience time.Duration
	// Out is the folder to write. It is made.
	Out string
	// Binary is the tidemark to run, and Version what is recorded of it.
	Binary, Version string
	// OldBinary, if it is not empty, is an older one that the nodes run until
	// rolling-upgrade has its turn.
	OldBinary string
	// Env are NAME=VALUE lines for all nodes, Args more arguments.
	Env, Args []string
	// Loopback does without network namespaces, NoDisk without the disks that nemeses can harm.
	Loopback, NoDisk bool
	// Porcupine bounds the time of the second opinion; 0 does without.
	Porcupine time.Duration
	// KeepData keeps the nodes' data after a run that passed.
	KeepData bool
	// Judging, if not nil, is held while the history is judged, so that of several runs
	// one at a time needs the memory for that.
	Judging sync.Locker
	// CommandLine is what to run to get the same again.
	CommandLine string
	// Progress is called about once a second. It may be nil.
	Progress func(Progress)
	// Logger may be nil.
	Logger *slog.Logger

	// tamper changes the history before it is judged. Tests do, to see that it is found.
	tamper func(*history.History)
}

// Defaults are the options of a run of half a minute.
func Defaults() Options {
	return Options{
		Nodes: 3, Mix: []string{"kill"},
		Duration: 30 * time.Second, Tail: 6 * time.Second,
		Rate: 800, Hot: 4, Cold: 60,
		Calm: 2 * time.Second, Hold: 4 * time.Second, Patience: 5 * time.Second,
		Porcupine: 20 * time.Second,
		// So that snapshots, logs that are cut, and nodes that need a snapshot to catch
		// up are part of every run.
		Args: []string{"--snapshot-interval=5s", "--trailing-time=2s", "--trailing-bytes=512KiB"},
	}
}

func (o *Options) validate() error {
	switch {
	case o.Nodes < 1:
		return fmt.Errorf("--nodes must be at least 1; it is %d", o.Nodes)
	case o.Rounds < 0 || o.Trials < 0 || o.Trials > 0 && o.FailoverBound <= 0:
		return errors.New("--rounds and --trials must not be negative, and --bound must be positive")
	case o.Duration <= 0 || o.Tail < 0 || o.Patience <= 0 || o.Calm <= 0 || o.Hold <= 0:
		return errors.New("--duration, --patience, --calm and --hold must be positive, --tail not negative")
	case o.Rate < 1:
		return fmt.Errorf("--rate must be at least 1; it is %d", o.Rate)
	case o.Hot < 1 || o.Cold < 0:
		return errors.New("--hot must be at least 1, --cold not negative")
	case o.Out == "":
		return errors.New("--out names the folder to write")
	case o.Binary == "":
		return errors.New("--binary names the tidemark to run")
	}
	return nil
}

// Phase is what a run is doing.
type Phase string

// The phases, in their order.
const (
	Forming  Phase = "form"
	Loading  Phase = "load"
	Healing  Phase = "heal"
	Reading  Phase = "read back"
	Judging  Phase = "judge"
	Finished Phase = "done"
)

// Progress is how far a run has come.
type Progress struct {
	Phase   Phase
	Elapsed time.Duration
	// Acknowledged counts messages, the others operations.
	Acknowledged, OK, Failed, Unknown int64
	// Faults are those that are in force, Injected how many there were.
	Faults   []string
	Injected int
}
