package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
)

func (a *app) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Say which messages may be trimmed",
		Long: `Retention policies let the leader trim the oldest messages of all timelines with a prefix.
A message goes only if every condition that is given allows it. Of several policies the
one with the longest prefix holds, alone.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.policySetCommand(), a.policyListCommand(), a.policyRemoveCommand())
	return cmd
}

func (a *app) policySetCommand() *cobra.Command {
	var p tidemark.Policy
	var readers []string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "set PREFIX",
		Short: "Set the policy of a prefix",
		Example: `  tidemark policy set conv/ --max-age 2160h --keep-at-least 100 --dry-run
  tidemark policy set inbox/ --max-messages 10000 --acked-by-all`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.Prefix, p.AckedBy = args[0], nil
			for _, reader := range readers {
				p.AckedBy = append(p.AckedBy, tidemark.ReaderID(reader))
			}
			if p.Empty() {
				return exit.Usagef("a condition must be given: --max-age, --max-messages, --max-bytes, --acked-by-all or --acked-by")
			}
			return a.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				if dryRun {
					return a.tryPolicy(ctx, c, p)
				}
				if err := c.SetPolicy(ctx, p); err != nil {
					return err
				}
				return a.printPolicies([]tidemark.Policy{p})
			})
		},
	}
	flags := cmd.Flags()
	flags.DurationVar(&p.MaxAge, "max-age", 0, "lets messages go that are older, such as 720h")
	flags.Uint64Var(&p.MaxMessages, "max-messages", 0, "lets messages go beyond the newest `number`")
	flags.Uint64Var(&p.MaxBytes, "max-bytes", 0, "lets messages go without which the timeline has still so many `bytes`")
	flags.BoolVar(&p.AckedByAll, "acked-by-all", false, "lets messages go that every cursor of the timeline has delivered")
	flags.StringSliceVar(&readers, "acked-by", nil, "lets messages go that these `readers` have delivered")
	flags.Uint64Var(&p.KeepAtLeast, "keep-at-least", 0, "never lets the newest `number` go")
	flags.BoolVar(&dryRun, "dry-run", false, "say what it would trim now, and change nothing")
	return cmd
}

func (a *app) tryPolicy(ctx context.Context, c *client.Client, p tidemark.Policy) error {
	trial, err := c.TryPolicy(ctx, p)
	if err != nil {
		return err
	}
	return a.printOne(struct {
		Seen     uint64 `json:"timelines_seen"`
		Trimmed  uint64 `json:"timelines_trimmed"`
		Messages uint64 `json:"messages_trimmed"`
	}{trial.Seen, trial.Trimmed, trial.Messages}, func(t *table) {
		t.row("TIMELINES SEEN", "TIMELINES TRIMMED", "MESSAGES TRIMMED")
		t.row(trial.Seen, trial.Trimmed, trial.Messages)
	})
}

func (a *app) policyListCommand() *cobra.Command {
	var level levelFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List all policies",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			chosen, err := level.consistency()
			if err != nil {
				return err
			}
			return a.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				policies, err := c.Policies(ctx, chosen)
				if err != nil {
					return err
				}
				return a.printPolicies(policies)
			})
		},
	}
	level.register(cmd)
	return cmd
}

func (a *app) policyRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "remove PREFIX",
		Short: "Remove the policy of a prefix",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return c.SetPolicy(ctx, tidemark.Policy{Prefix: args[0]})
			})
		},
	}
}

type policyDocument struct {
	Prefix      string              `json:"prefix"`
	MaxAge      string              `json:"max_age,omitempty"`
	MaxMessages uint64              `json:"max_messages,omitempty"`
	MaxBytes    uint64              `json:"max_bytes,omitempty"`
	AckedByAll  bool                `json:"acked_by_all,omitempty"`
	AckedBy     []tidemark.ReaderID `json:"acked_by,omitempty"`
	KeepAtLeast uint64              `json:"keep_at_least,omitempty"`
}

func (a *app) printPolicies(policies []tidemark.Policy) error {
	documents := make([]policyDocument, len(policies))
	for i, p := range policies {
		documents[i] = policyDocument{p.Prefix, ageText(p.MaxAge), p.MaxMessages, p.MaxBytes, p.AckedByAll, p.AckedBy, p.KeepAtLeast}
	}
	return printList(a, documents, documents, func(t *table) {
		t.row("PREFIX", "MAX AGE", "MAX MESSAGES", "MAX BYTES", "ACKED BY ALL", "ACKED BY", "KEEP AT LEAST")
		for _, d := range documents {
			t.row(d.Prefix, d.MaxAge, d.MaxMessages, d.MaxBytes, d.AckedByAll, d.AckedBy, d.KeepAtLeast)
		}
	})
}

// ageText leaves out what is not given.
func ageText(age time.Duration) string {
	if age == 0 {
		return ""
	}
	return age.String()
}
