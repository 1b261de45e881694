package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
	"tidemark/internal/exchange"
	"tidemark/rpc/tidemarkv1"
)

// printMessage prints a message of the API; in JSON with the names of the .proto file.
func (a *app) printMessage(message proto.Message, asTable func(*table)) error {
	document, err := jsonOf(message)
	if err != nil {
		return err
	}
	return a.printOne(document, asTable)
}

// jsonOf renders a message of the API. Protojson puts spaces at random, so that
// nobody relies on them; printing the result again takes them out.
func jsonOf(message proto.Message) (json.RawMessage, error) {
	return protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(message)
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Say how each of the nodes at --endpoints is",
		Long:  "Ask each node at --endpoints how it is. It fails if one of them does not answer or cannot serve.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.call(cmd.Context(), a.status)
		},
	}
}

// statusTimeout is how long one node has to say how it is. A node that takes longer
// is as good as away, and does not hold up the others.
const statusTimeout = 3 * time.Second

func (a *app) status(ctx context.Context, c *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, min(statusTimeout, a.global.timeout))
	defer cancel()
	endpoints := c.Endpoints()
	answers := make([]*tidemarkv1.StatusResponse, len(endpoints))
	failed := make([]error, len(endpoints))
	var group sync.WaitGroup
	for i, endpoint := range endpoints {
		group.Go(func() {
			answers[i], failed[i] = c.Cluster().At(endpoint).Status(ctx)
			if reason := answers[i].GetNotServingReason(); reason != "" {
				failed[i] = fmt.Errorf("node %s cannot serve: %s", answers[i].GetNodeId(), reason)
			}
		})
	}
	group.Wait()
	replies := slices.DeleteFunc(answers, func(r *tidemarkv1.StatusResponse) bool { return r == nil })
	return errors.Join(append(failed, a.printStatus(replies))...)
}

func (a *app) printStatus(replies []*tidemarkv1.StatusResponse) error {
	documents := make([]json.RawMessage, len(replies))
	for i, reply := range replies {
		var err error
		if documents[i], err = jsonOf(reply); err != nil {
			return err
		}
	}
	return printList(a, documents, documents, func(t *table) {
		if len(replies) > 0 {
			statusRows(t, replies)
		}
	})
}

func statusRows(t *table, replies []*tidemarkv1.StatusResponse) {
	t.row("NODE", "ROLE", "LEADER", "TERM", "APPLIED", "COMMIT", "LOG", "DISK USED", "DISK FREE", "UP SINCE", "VERSION", "SERVING")
	for _, r := range replies {
		serving := "yes"
		if reason := r.GetNotServingReason(); reason != "" {
			serving = reason
		}
		t.row(r.GetNodeId(), r.GetRole(), r.GetLeaderId(), r.GetTerm(), r.GetAppliedIndex(), r.GetCommitIndex(),
			fmt.Sprintf("%d-%d %s", r.GetFirstLogIndex(), r.GetLastLogIndex(), r.GetLogStore()),
			byteText(r.GetDiskUsedBytes()), byteText(r.GetDiskFreeBytes()), r.GetStartedAt().AsTime(), r.GetVersion(), serving)
	}
	t.row("")
	memberRows(t, replies[len(replies)-1].GetMembers())
}

func memberRows(t *table, members []*tidemarkv1.Member) {
	t.row("MEMBER", "VOTER", "LEADER", "RAFT", "CLIENTS", "REACHABLE", "APPLIED", "LAG", "VERSION")
	for _, m := range members {
		t.row(m.GetNodeId(), m.GetRole() == tidemarkv1.MemberRole_MEMBER_ROLE_VOTER, m.GetLeader(), m.GetRaftAddress(),
			m.GetClientAddress(), m.GetReachable(), m.GetAppliedIndex(), m.GetLag(), m.GetVersion())
	}
}

func (a *app) memberCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "member", Short: "List and change the members", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	members := func(change func(context.Context, *client.Cluster, []string) ([]*tidemarkv1.Member, error)) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			return a.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				list, err := change(ctx, c.Cluster(), args)
				if err != nil {
					return err
				}
				return a.printMembers(list)
			})
		}
	}
	cmd.AddCommand(
		&cobra.Command{Use: "list", Short: "List the members", Args: cobra.NoArgs,
			RunE: members(func(ctx context.Context, c *client.Cluster, _ []string) ([]*tidemarkv1.Member, error) {
				reply, err := c.Status(ctx)
				return reply.GetMembers(), err
			})},
		&cobra.Command{Use: "add NODE-ID RAFT-HOST:PORT", Short: "Add a member without a vote; `serve --join` does it by itself", Args: cobra.ExactArgs(2),
			RunE: members(func(ctx context.Context, c *client.Cluster, args []string) ([]*tidemarkv1.Member, error) {
				return c.AddMember(ctx, args[0], args[1])
			})},
		&cobra.Command{Use: "promote NODE-ID", Short: "Give a member that has caught up a vote", Args: cobra.ExactArgs(1),
			RunE: members(func(ctx context.Context, c *client.Cluster, args []string) ([]*tidemarkv1.Member, error) {
				return c.PromoteMember(ctx, args[0])
			})},
		&cobra.Command{Use: "remove NODE-ID", Short: "Remove a member for good: its directory cannot come back", Args: cobra.ExactArgs(1),
			RunE: members(func(ctx context.Context, c *client.Cluster, args []string) ([]*tidemarkv1.Member, error) {
				return c.RemoveMember(ctx, args[0])
			})},
	)
	return cmd
}

func (a *app) printMembers(members []*tidemarkv1.Member) error {
	whole, err := jsonOf(&tidemarkv1.AddMemberResponse{Members: members})
	if err != nil {
		return err
	}
	documents := make([]json.RawMessage, len(members))
	for i, member := range members {
		if documents[i], err = jsonOf(member); err != nil {
			return err
		}
	}
	return printList(a, whole, documents, func(t *table) { memberRows(t, members) })
}

func (a *app) leaderCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "leader", Short: "Hand leadership over", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(&cobra.Command{
		Use: "transfer [NODE-ID]", Short: "Hand leadership to a member, or to the one that is best caught up", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				var to string
				if len(args) > 0 {
					to = args[0]
				}
				leader, err := c.Cluster().TransferLeadership(ctx, to)
				if err != nil {
					return err
				}
				return a.printMessage(&tidemarkv1.TransferLeadershipResponse{LeaderId: leader}, func(t *table) { t.row("leader", leader) })
			})
		},
	})
	return cmd
}

func (a *app) snapshotCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "snapshot",
		Short: "Make a node's state durable now, and shorten its log",
		Long:  "Ask the first node of --endpoints that answers. Nodes do it by themselves every few seconds.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				index, term, err := c.Cluster().TakeSnapshot(ctx)
				if err != nil {
					return err
				}
				return a.printMessage(&tidemarkv1.TakeSnapshotResponse{Index: index, Term: term}, func(t *table) {
					t.row("INDEX", "TERM")
					t.row(index, term)
				})
			})
		},
	}
}

func (a *app) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a consistent copy of a node's state to a file",
		Long: `Stream a consistent copy of the state of one node, as of one log index, with checksums.
The file appears under its name when it is whole.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == exchange.Stdin {
				return exit.Usagef("backup writes to a file, not to standard output")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			begin := time.Now()
			size, err := a.backup(cmd.Context(), c, args[0])
			if err != nil {
				return fmt.Errorf("backup to %s: %w", args[0], err)
			}
			document := struct {
				File           string  `json:"file"`
				Bytes          int64   `json:"bytes"`
				ElapsedSeconds float64 `json:"elapsed_seconds"`
			}{args[0], size, time.Since(begin).Seconds()}
			return a.printOne(document, func(t *table) {
				t.row("FILE", "SIZE", "SECONDS")
				t.row(document.File, byteText(uint64(size)), fmt.Sprintf("%.1f", document.ElapsedSeconds))
			})
		},
	}
}

func (a *app) backup(ctx context.Context, c *client.Client, name string) (size int64, err error) {
	file, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".unfinished-*")
	if err != nil {
		return 0, err
	}
	err = a.watch(ctx, func(ctx context.Context, progress func()) error {
		var err error
		size, err = c.Cluster().Backup(ctx, &progressWriter{file, progress})
		return err
	})
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return size, errors.Join(err, os.Remove(file.Name()))
	}
	return size, os.Rename(file.Name(), name)
}

// progressWriter tells of every write.
type progressWriter struct {
	io.Writer
	progress func()
}

func (w *progressWriter) Write(p []byte) (int, error) {
	w.progress()
	return w.Writer.Write(p)
}
