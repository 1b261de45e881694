package postgres

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"

	"tidemark/bench/process"
	"tidemark/bench/system"
)

// System is PostgreSQL.
type System struct {
	// Standbys has two standbys, of which one must have fsynced a commit.
	Standbys bool

	// bin is the directory of its programs.
	bin string
	// as is whom they run as: they refuse root.
	as *syscall.Credential
}

// The ways.
const (
	wayInsert = "insert"
	waySelect = "select"
)

// Describe implements system.System.
func (s *System) Describe() system.Description {
	if s.Standbys {
		return system.Description{
			Name: "postgres-sync", Title: "PostgreSQL (synchronous standby)", Nodes: 3,
			Acknowledged: "fsynced by the primary and by one standby",
			Retry:        retry,
			Config:       "The same with two streaming standbys and `synchronous_standby_names = 'ANY 1 (s1, s2)'`.",
			Ways:         map[system.Kind][]string{system.Append: {wayInsert}},
		}
	}
	return system.Description{
		Name: "postgres", Title: "PostgreSQL (one node)", Nodes: 1,
		Acknowledged: "fsynced by the only node",
		Retry:        retry,
		Config: "`fsync=on`, `synchronous_commit=on`, `shared_buffers=1GB`, the rest as by default. One statement adds 1 to the counter of the timeline and inserts the message, with a primary key of timeline " +
			"and number and a unique index of timeline and message id. A pool of up to 64 connections (256 do no more), prepared statements.",
		Ways: map[system.Kind][]string{system.Append: {wayInsert}, system.Read: {waySelect}},
	}
}

const retry = "refused by the unique index, for as long as the message is kept"

// Prepare implements system.System.
func (s *System) Prepare(ctx context.Context, _ system.Env) (version string, err error) {
	if s.bin, err = find(); err != nil {
		return "", err
	}
	if s.as, err = owner(); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, s.program("postgres"), "--version").Output()
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(out)) // postgres (PostgreSQL) 15.14 …
	if len(fields) < 3 {
		return "", fmt.Errorf("postgres --version says %q", out)
	}
	return fields[2], nil
}

// find looks for the directory that has all programs, the newest first.
func find() (string, error) {
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	slices.SortFunc(dirs, func(a, b string) int { return majorOf(b) - majorOf(a) })
	dirs = append(dirs, filepath.SplitList(os.Getenv("PATH"))...)
	for _, dir := range dirs {
		if !slices.ContainsFunc([]string{"postgres", "initdb", "pg_basebackup"}, func(program string) bool {
			_, err := exec.LookPath(filepath.Join(dir, program))
			return err != nil
		}) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("%w: no directory has postgres, initdb and pg_basebackup", system.ErrNotInstalled)
}

// majorOf is the version in /usr/lib/postgresql/VERSION/bin.
func majorOf(dir string) int {
	major, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir))) // 0 for what is no version
	return major
}

// owner is the user postgres if the runner is root, and nil otherwise.
func owner() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("%w: it refuses to run as root, and %w", system.ErrNotInstalled, err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

func (s *System) program(name string) string { return filepath.Join(s.bin, name) }

const (
	superuser = "postgres"
	schema    = `
CREATE TABLE timeline (name text PRIMARY KEY, last bigint NOT NULL);
CREATE TABLE message (
	timeline text NOT NULL, seq bigint NOT NULL, id uuid NOT NULL, sender text NOT NULL, payload bytea NOT NULL, at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (timeline, seq), UNIQUE (timeline, id)
);`
)

type cluster struct {
	process.Group
	primary string // HOST:PORT
}

func url(address string) string {
	return "postgres://" + superuser + "@" + address + "/postgres?sslmode=disable"
}

// Start implements system.System.
func (s *System) Start(ctx context.Context, dir string) (_ system.Cluster, err error) {
	c := &cluster{}
	defer func() {
		if err != nil {
			_ = c.Stop() // why it did not start says more
		}
	}()
	if s.as != nil {
		if err := os.Chown(dir, int(s.as.Uid), int(s.as.Gid)); err != nil {
			return nil, err
		}
	}
	addresses, err := process.FreeAddresses(3)
	if err != nil {
		return nil, err
	}
	c.primary = addresses[0]
	data := filepath.Join(dir, "primary")
	if err := process.Run(ctx, s.as, s.program("initdb"), "-D", data, "-U", superuser, "-A", "trust", "-E", "UTF8", "--locale", "C"); err != nil {
		return nil, err
	}
	if err := s.start(ctx, c, "primary", data, c.primary); err != nil {
		return nil, err
	}
	if err := c.execute(ctx, schema); err != nil {
		return nil, err
	}
	if s.Standbys {
		err = s.startStandbys(ctx, c, dir, addresses[1:])
	}
	return c, err
}

// start starts a server and waits until it answers.
func (s *System) start(ctx context.Context, c *cluster, name, data, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	server, err := c.Group.Start(process.Command{
		Name: name, Path: s.program("postgres"), Log: data + ".log", As: s.as,
		// It ends its children at once, which SIGKILL would leave to find out.
		Death: syscall.SIGQUIT,
		Args: []string{"-D", data, "-p", port, "-c", "listen_addresses=" + host, "-c", "unix_socket_directories=" + data,
			"-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "shared_buffers=1GB"},
	})
	if err != nil {
		return err
	}
	return server.WaitReady(ctx, func(ctx context.Context) error {
		connection, err := pgx.Connect(ctx, url(address))
		if err != nil {
			return err
		}
		return connection.Close(ctx)
	})
}

// startStandbys starts a standby at each address, and makes commits wait for one of them.
func (s *System) startStandbys(ctx context.Context, c *cluster, dir string, addresses []string) error {
	for i, address := range addresses {
		name := fmt.Sprintf("s%d", i+1)
		data := filepath.Join(dir, name)
		if err := process.Run(ctx, s.as, s.program("pg_basebackup"), "-d", url(c.primary)+"&application_name="+name, "-D", data, "-R", "-X", "stream", "-c", "fast"); err != nil {
			return err
		}
		if err := s.start(ctx, c, name, data, address); err != nil {
			return err
		}
	}
	if err := c.execute(ctx, "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (s1, s2)'"); err != nil {
		return err
	}
	if err := c.execute(ctx, "SELECT pg_reload_conf()"); err != nil {
		return err
	}
	return c.Group[0].WaitReady(ctx, func(ctx context.Context) error {
		connection, err := pgx.Connect(ctx, url(c.primary))
		if err != nil {
			return err
		}
		defer connection.Close(ctx)
		var synchronous int
		if err := connection.QueryRow(ctx, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'quorum'").Scan(&synchronous); err != nil {
			return err
		}
		if synchronous != len(addresses) {
			return fmt.Errorf("%d standbys are synchronous", synchronous)
		}
		return nil
	})
}

// execute runs SQL on the primary.
func (c *cluster) execute(ctx context.Context, sql string, args ...any) error {
	connection, err := pgx.Connect(ctx, url(c.primary))
	if err != nil {
		return err
	}
	defer connection.Close(ctx)
	_, err = connection.Exec(ctx, sql, args...)
	return err
}

// Stop implements system.Cluster. The shutdown is immediate: nothing is needed any more.
func (c *cluster) Stop() error { return c.Group.Stop(syscall.SIGQUIT) }
