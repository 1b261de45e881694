package cli

import (
	"encoding/base64"
	"time"

	"github.com/spf13/cobra"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
)

// levelFlags say what a read may show.
type levelFlags struct {
	level        string
	position     string
	maxStaleness time.Duration
}

func (f *levelFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.level, "consistency", "linearizable", "linearizable, session (needs --position) or local")
	flags.StringVar(&f.position, "position", "", "`token` of an earlier reply, for session")
	flags.DurationVar(&f.maxStaleness, "max-staleness", 0, "for local: refuse a node that heard from a leader longer ago; 0 for any")
	complete(cmd, "consistency", "linearizable", "session", "local")
}

func (f *levelFlags) consistency() (client.Consistency, error) {
	if f.position != "" && f.level != "session" || f.maxStaleness != 0 && f.level != "local" {
		return client.Consistency{}, exit.Usagef("--position goes with --consistency session, and --max-staleness with local")
	}
	switch f.level {
	case "linearizable":
		return client.Linearizable(), nil
	case "session":
		token, err := base64.StdEncoding.DecodeString(f.position)
		if err != nil || f.position == "" {
			return client.Consistency{}, exit.Usagef("--position must be the position of an earlier reply; %q is not", f.position)
		}
		position, err := tidemark.ParsePosition("position", token)
		return client.SessionAt(position), err
	case "local":
		if f.maxStaleness < 0 {
			return client.Consistency{}, exit.Usagef("--max-staleness must not be negative; it is %v", f.maxStaleness)
		}
		return client.Local(f.maxStaleness), nil
	}
	return client.Consistency{}, exit.Usagef("--consistency must be linearizable, session or local; it is %q", f.level)
}
