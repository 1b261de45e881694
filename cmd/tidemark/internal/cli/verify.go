package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
)

// errDiffers makes the exit status tell that a timeline is not the same everywhere.
var errDiffers = errors.New("the timeline differs from what was read")

func (a *app) verifyCommand() *cobra.Command {
	var level levelFlags
	cmd := &cobra.Command{
		Use:   "verify TIMELINE",
		Short: "Recompute a timeline's digests and compare them with nodes",
		Long: `Read the whole timeline through one node, recompute the digest of each message from its
contents, and ask each of the --endpoints whether it holds the same. The exit status is 0
only if all do.`,
		Example: "  tidemark verify conv/42 --endpoints 127.0.0.1:7400,127.0.0.1:7410,127.0.0.1:7420",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen, err := level.consistency()
			if err != nil {
				return err
			}
			return a.verify(cmd.Context(), tidemark.TimelineID(args[0]), chosen)
		},
	}
	level.register(cmd)
	return cmd
}

// verifyDocument is what a node answered.
type verifyDocument struct {
	Endpoint       string `json:"endpoint"`
	Equal          bool   `json:"equal"`
	EqualToSeqID   uint64 `json:"equal_to_seq_id"`
	DiffersAtSeqID uint64 `json:"differs_at_seq_id,omitempty"`
	Messages       uint64 `json:"messages"`
}

func (a *app) verify(ctx context.Context, timeline tidemark.TimelineID, level client.Consistency) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	points, count, err := a.recompute(ctx, c, timeline, level)
	if err != nil {
		return err
	}
	var documents []verifyDocument
	differs := false
	if len(points) == 0 {
		return exit.Usagef("%s never had a message: there is nothing to verify", timeline)
	}
	for _, endpoint := range a.global.endpoints {
		verified, err := a.verifyAt(ctx, endpoint, timeline, points, c.Position())
		if err != nil {
			return fmt.Errorf("%s: %w", endpoint, err)
		}
		differs = differs || !verified.Equal
		documents = append(documents, verifyDocument{
			Endpoint: endpoint, Equal: verified.Equal, EqualToSeqID: uint64(verified.EqualTo),
			DiffersAtSeqID: uint64(verified.DiffersAt), Messages: count,
		})
	}
	err = printList(a, documents, documents, func(t *table) {
		t.row("ENDPOINT", "EQUAL", "UP TO", "DIFFERS AT OR BEFORE")
		for _, d := range documents {
			differs := any("")
			if !d.Equal {
				differs = d.DiffersAtSeqID
			}
			t.row(d.Endpoint, d.Equal, d.EqualToSeqID, differs)
		}
	})
	if err == nil && differs {
		err = errDiffers
	}
	return err
}

// recompute reads the timeline and computes its digests from the contents. It keeps at
// most tidemark.MaxVerifyPoints of them, evenly spread, the last one among them.
func (a *app) recompute(ctx context.Context, c *client.Client, timeline tidemark.TimelineID, level client.Consistency) (points []client.Digest, count uint64, err error) {
	head, err := c.Timeline(ctx, timeline, level)
	if err != nil {
		return nil, 0, err
	}
	step, last := tidemark.SeqID(1), client.Digest{SeqID: head.First - 1, Digest: tidemark.InitialDigest(timeline)}
	if head.First > 1 {
		last.Digest = head.TrimmedDigest
	}
	err = a.watch(ctx, func(ctx context.Context, progress func()) error {
		for m, err := range c.Messages(ctx, timeline, client.PageSize(tidemark.MaxPageMessages), level) {
			if err != nil {
				return err
			}
			progress()
			if m.SeqID != last.SeqID+1 {
				return fmt.Errorf("messages %d to %d were trimmed while they were read; verify again", last.SeqID+1, m.SeqID-1)
			}
			digest, err := m.NextDigest(last.Digest)
			if err != nil {
				return err
			}
			last = client.Digest{SeqID: m.SeqID, Digest: digest}
			count++
			if m.SeqID%step == 0 {
				points = append(points, last)
			}
			if len(points) == tidemark.MaxVerifyPoints {
				step *= 2
				points = everySecond(points)
			}
		}
		return nil
	})
	if n := len(points); err == nil && last.SeqID > 0 && (n == 0 || points[n-1].SeqID != last.SeqID) {
		points = append(points, last)
	}
	return points, count, err
}

// everySecond keeps the second, the fourth, and so on.
func everySecond(points []client.Digest) []client.Digest {
	kept := points[:0]
	for i := 1; i < len(points); i += 2 {
		kept = append(kept, points[i])
	}
	return kept
}

// verifyAt asks one node, which must have applied the position.
func (a *app) verifyAt(ctx context.Context, endpoint string, timeline tidemark.TimelineID, points []client.Digest, position tidemark.Position) (client.Verified, error) {
	c, err := client.New([]string{endpoint}, client.WithoutDiscovery())
	if err != nil {
		return client.Verified{}, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, a.global.timeout)
	defer cancel()
	return c.VerifyDigests(ctx, timeline, points, client.SessionAt(position))
}
