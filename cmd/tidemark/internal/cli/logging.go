package cli

import (
	"log/slog"

	"tidemark/cmd/tidemark/internal/exit"
)

// logger writes to standard error as --log-level and --log-format say.
func (a *app) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.global.logLevel)); err != nil {
		return nil, exit.Usagef("--log-level must be debug, info, warn or error; it is %q", a.global.logLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	switch a.global.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(a.Err, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(a.Err, options)), nil
	}
	return nil, exit.Usagef("--log-format must be text or json; it is %q", a.global.logFormat)
}
