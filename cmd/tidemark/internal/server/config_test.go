package server

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"tidemark"
	"tidemark/cmd/tidemark/internal/exit"
)

func validConfig() Config {
	cfg := DefaultConfig()
	cfg.NodeID, cfg.DataDir = "n1", "data"
	return cfg
}

func TestDefaultsAreValid(t *testing.T) {
	cfg := validConfig()
	if err := cfg.check(); err != nil {
		t.Error(err)
	}
	if cfg.Advertise != cfg.Listen || cfg.RaftAdvertise != cfg.RaftListen {
		t.Errorf("advertised are %s and %s", cfg.Advertise, cfg.RaftAdvertise)
	}
}

func TestConfigNamesTheFlag(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"--node-id must be given":                func(c *Config) { c.NodeID = "" },
		`--node-id "a=b"`:                        func(c *Config) { c.NodeID = "a=b" },
		"--data-dir must be given":               func(c *Config) { c.DataDir = "" },
		"--log-store must be wal or boltdb":      func(c *Config) { c.LogStore = "x" },
		"--shutdown-timeout must be positive":    func(c *Config) { c.ShutdownTimeout = 0 },
		"--snapshot-interval must be positive":   func(c *Config) { c.SnapshotInterval = -1 },
		"--trailing-time must not be negative":   func(c *Config) { c.TrailingTime = -1 },
		"--store-cache must be at most 1024 GiB": func(c *Config) { c.StoreCache = 1<<40 + 1 },
		"--store-buffer must be 1 to 1024 MiB":   func(c *Config) { c.StoreBuffer = 1 << 19 },
		"--id-filter must be at most 1024 GiB":   func(c *Config) { c.IDFilter = 1 << 41 },
		"--listen must be HOST:PORT":             func(c *Config) { c.Listen = "7400" },
		"--http-listen must be HOST:PORT":        func(c *Config) { c.HTTPListen = "" },
		"--advertise must be an address that":    func(c *Config) { c.Listen = "0.0.0.0:7400" },
		"--raft-advertise must be an address":    func(c *Config) { c.RaftListen = "[::]:7401" },
		"--advertise must be HOST:PORT":          func(c *Config) { c.Advertise = "x" },
		"exclude each other":                     func(c *Config) { c.Join, c.InitialCluster = []string{"a:1"}, map[string]string{"n1": "a:1"} },
		"must name this node as n1=":             func(c *Config) { c.InitialCluster = map[string]string{"n2": "a:1"} },
		"must name this node as n1=127.0.0.1:74": func(c *Config) { c.InitialCluster = map[string]string{"n1": "a:1"} },
	} {
		cfg := validConfig()
		change(&cfg)
		err := cfg.check()
		if err == nil || !strings.Contains(err.Error(), want) || exit.Status(err) != exit.Usage {
			t.Errorf("got %v, want %q as a usage error", err, want)
		}
	}
}

func TestParseMembers(t *testing.T) {
	got, err := ParseMembers([]string{"n1=a:1", " n2=[::1]:2"})
	if err != nil || !maps.Equal(got, map[string]string{"n1": "a:1", "n2": "[::1]:2"}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, items := range [][]string{{"n1"}, {"=a:1"}, {"n1=a"}, {"n1=a:1", "n1=b:1"}, {"n1=a:1", "n2=a:1"}, {"n1=0.0.0.0:1"}} {
		if got, err := ParseMembers(items); err == nil {
			t.Errorf("%v is taken for %v", items, got)
		}
	}
}

func TestStoreErrorKnowsAFullDisk(t *testing.T) {
	full := storeError("pebble: write 000004.log: no space left on device")
	if !errors.Is(full, tidemark.ErrDiskFull) || exit.Status(full) != exit.DiskFull {
		t.Errorf("got %v", full)
	}
	if other := storeError("pebble: bad"); errors.Is(other, tidemark.ErrDiskFull) {
		t.Errorf("got %v", other)
	}
}
