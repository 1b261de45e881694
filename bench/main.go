// Command bench does the same work with Tidemark and with other systems, all of them real
// servers on loopback that it starts and stops, and writes docs/benchmarks.md.
//
// It is run in its own directory: go run -C bench . [flags]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"tidemark/bench/ceiling"
	"tidemark/bench/etcd"
	"tidemark/bench/nats"
	"tidemark/bench/postgres"
	"tidemark/bench/redis"
	"tidemark/bench/report"
	"tidemark/bench/result"
	"tidemark/bench/run"
	"tidemark/bench/system"
	"tidemark/bench/tidemark"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// systems are all systems, in the order in which they are measured.
func systems(commit string) []system.System {
	return []system.System{
		tidemark.New(commit),
		&ceiling.System{},
		&nats.System{SyncAlways: true},
		&nats.System{},
		&etcd.System{},
		&redis.System{},
		&redis.System{Replicated: true},
		&postgres.System{},
		&postgres.System{Standbys: true},
	}
}

// options are the flags.
type options struct {
	systems, works   []string
	pairs            int
	warmup, duration time.Duration
	out, json        string
	resume           bool
}

// The bounds of what is measured in one go.
const (
	maxPairs    = 100
	minDuration = 100 * time.Millisecond
	maxDuration = 10 * time.Minute
)

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	var allSystems, allWorks []string
	for _, s := range systems("") {
		allSystems = append(allSystems, s.Describe().Name)
	}
	for _, work := range system.Works() {
		allWorks = append(allWorks, work.Name)
	}
	systemList := flags.String("systems", strings.Join(allSystems, ","), "`systems` to measure")
	workList := flags.String("works", strings.Join(allWorks, ","), "`works` to do")
	flags.IntVar(&o.pairs, "pairs", 5, "how often each system does each work, in turn")
	flags.DurationVar(&o.warmup, "warmup", 2*time.Second, "how long before what is measured")
	flags.DurationVar(&o.duration, "duration", 5*time.Second, "how long is measured, each time")
	flags.StringVar(&o.out, "out", "../docs/benchmarks.md", "`file` for the report; its plots go into a directory beside it")
	flags.StringVar(&o.json, "json", "build/benchmarks.json", "`file` for what was measured, written after each step")
	flags.BoolVar(&o.resume, "resume", false, "go on with what is in the file of --json")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.systems, o.works = strings.Split(*systemList, ","), strings.Split(*workList, ",")
	for _, of := range []struct {
		flag         string
		asked, known []string
	}{{"systems", o.systems, allSystems}, {"works", o.works, allWorks}} {
		for _, name := range of.asked {
			if !slices.Contains(of.known, name) {
				return o, fmt.Errorf("--%s: %q is none of %s", of.flag, name, strings.Join(of.known, ","))
			}
		}
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("%q is no flag", flags.Arg(0))
	case o.pairs < 1 || o.pairs > maxPairs:
		return o, fmt.Errorf("--pairs must be 1 to %d", maxPairs)
	case o.warmup < 0 || o.warmup > maxDuration:
		return o, fmt.Errorf("--warmup must be 0 to %v", maxDuration)
	case o.duration < minDuration || o.duration > maxDuration:
		return o, fmt.Errorf("--duration must be %v to %v", minDuration, maxDuration)
	}
	return o, nil
}

func bench(ctx context.Context, args []string) error {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	env, data, err := directories()
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	commit, err := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		return fmt.Errorf("git describe: %w", err)
	}
	r := &result.Report{
		Settings: result.Settings{Commit: strings.TrimSpace(string(commit)), Warmup: o.warmup, Duration: o.duration},
		Command:  strings.Join(append([]string{"go run -C bench ."}, args...), " "),
		Date:     time.Now().UTC(),
	}
	if r.Machine, err = result.ThisMachine(data); err != nil {
		return err
	}
	if r.Machine.FileSystem == "tmpfs" {
		return errors.New("bench/build is in memory, where an fsync costs nothing")
	}
	prepared, err := prepare(ctx, o, env, r)
	if err != nil {
		return err
	}
	if o.resume {
		earlier, err := result.Load(o.json)
		if err != nil {
			return err
		}
		if earlier != nil {
			if err := r.Resume(earlier); err != nil {
				return err
			}
		}
	}
	runner := run.Runner{
		Data: data, Report: r, Progress: say,
		Save: func(r *result.Report) error { return r.Save(o.json) },
	}
	if err := runner.Run(ctx, run.Schedule(worksOf(o), prepared, o.pairs)); err != nil {
		return err
	}
	return report.Write(r, o.out)
}

func say(text string) { fmt.Fprintln(os.Stderr, text) }

// directories are where to build, and where servers keep their data for as long as the runner lives.
func directories() (env system.Env, data string, err error) {
	if env.Module, err = os.Getwd(); err != nil {
		return env, "", err
	}
	env.Build = filepath.Join(env.Module, "build")
	if _, err := os.Stat(filepath.Join(env.Module, "servers", "go.mod")); err != nil {
		return env, "", fmt.Errorf("run it in the directory bench: %w", err)
	}
	if err := os.MkdirAll(env.Build, 0o755); err != nil {
		return env, "", err
	}
	if data, err = os.MkdirTemp(env.Build, "data-"); err != nil {
		return env, "", err
	}
	// A server may run as another user.
	return env, data, os.Chmod(data, 0o755)
}

// prepare builds or finds the servers, and returns those that are there.
func prepare(ctx context.Context, o options, env system.Env, r *result.Report) ([]system.System, error) {
	var prepared []system.System
	for _, s := range systems(r.Commit) {
		d := s.Describe()
		if !slices.Contains(o.systems, d.Name) {
			continue
		}
		say("preparing " + d.Name)
		version, err := s.Prepare(ctx, env)
		described := result.System{Description: d, Version: version}
		switch {
		case errors.Is(err, system.ErrNotInstalled):
			described.Missing = system.ErrNotInstalled.Error()
			say(fmt.Sprintf("%s is left out: %v", d.Name, err))
		case err != nil:
			return nil, fmt.Errorf("%s: %w", d.Name, err)
		default:
			prepared = append(prepared, s)
		}
		r.Systems = append(r.Systems, described)
	}
	return prepared, nil
}

// worksOf are those that were asked for, in the order in which all are measured.
func worksOf(o options) []system.Work {
	return slices.DeleteFunc(system.Works(), func(work system.Work) bool { return !slices.Contains(o.works, work.Name) })
}
