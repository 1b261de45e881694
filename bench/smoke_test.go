package main

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"tidemark/bench/system"
)

// smokeTimeout bounds one system.
const smokeTimeout = 3 * time.Minute

// Each system starts, does each of its works once in each way, and stops.
func TestEachSystem(t *testing.T) {
	module, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	env := system.Env{Module: module, Build: t.TempDir()}
	for _, s := range systems("test") {
		d := s.Describe()
		t.Run(d.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), smokeTimeout)
			defer cancel()
			version, err := s.Prepare(ctx, env)
			if errors.Is(err, system.ErrNotInstalled) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if version == "" {
				t.Error("it has no version")
			}
			dir, err := os.MkdirTemp("", "tidemark-bench-")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			// A server may run as another user, whom t.TempDir would keep out.
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			cluster, err := s.Start(ctx, dir)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := cluster.Stop(); err != nil {
					t.Error(err)
				}
			}()
			if got := len(cluster.PIDs()); got != d.Nodes {
				t.Errorf("it has %d nodes, not %d", got, d.Nodes)
			}
			doAll(ctx, t, cluster, d)
		})
	}
}

// callers is how many there are of each work.
const callers = 4

func doAll(ctx context.Context, t *testing.T, cluster system.Cluster, d system.Description) {
	if len(d.Ways[system.Read]) > 0 && !testing.Short() {
		if err := cluster.Fill(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for kind, ways := range d.Ways {
		if kind.NeedsBacklog() && testing.Short() {
			continue
		}
		for _, way := range ways {
			driver, err := cluster.Open(ctx, kind, way, callers)
			if err != nil {
				t.Fatalf("%s, %s: %v", kind, way, err)
			}
			defer driver.Close()
			if kind == system.Tail {
				if err := driver.CatchUp(ctx); err != nil {
					t.Errorf("%s, %s: %v", kind, way, err)
				}
				continue
			}
			// Often enough to come to the second page of a consumer.
			for call := range 3 * callers {
				if err := driver.Call(ctx, call%callers); err != nil {
					t.Errorf("%s, %s: %v", kind, way, err)
				}
			}
		}
	}
}
