package cli

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"tidemark/cmd/tidemark/internal/exit"
)

// envPrefix stands before the name of a flag in the environment.
const envPrefix = "TIDEMARK"

// configure gives every flag that was not given on the command line its value
// from the environment or from the file that --config names, in this order, and
// then checks the global ones.
func (a *app) configure(cmd *cobra.Command) error {
	values := viper.New()
	values.SetEnvPrefix(envPrefix)
	values.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	values.AutomaticEnv()
	file := a.global.config
	if file == "" {
		file = values.GetString("config")
	}
	if file != "" {
		values.SetConfigFile(file)
		values.SetConfigType("yaml")
		if err := values.ReadInConfig(); err != nil {
			return &exit.UsageError{Err: fmt.Errorf("--config %s: %w", file, err)}
		}
		if err := checkKeys(cmd.Root(), values); err != nil {
			return &exit.UsageError{Err: fmt.Errorf("--config %s: %w", file, err)}
		}
	}
	var failed error
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if flag.Changed || failed != nil || notConfigurable(flag.Name) || !values.IsSet(flag.Name) {
			return
		}
		text, err := flagText(values, flag)
		if err == nil {
			err = cmd.Flags().Set(flag.Name, text)
		}
		if err != nil {
			failed = &exit.UsageError{Err: fmt.Errorf("%s: %w", source(values, flag.Name, file), err)}
		}
	})
	if failed != nil {
		return failed
	}
	// Cobra would do this later, and not as usage errors.
	if err := errors.Join(cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups()); err != nil {
		return &exit.UsageError{Err: err}
	}
	return a.checkGlobal()
}

// notConfigurable lists flags that are for the command line alone: cobra's own,
// and the one that says where the file is.
func notConfigurable(name string) bool {
	return slices.Contains([]string{"help", "version", "config"}, name)
}

// flagText renders a value of the file or the environment as it would stand
// behind the flag. A list is joined by commas.
func flagText(values *viper.Viper, flag *pflag.Flag) (string, error) {
	switch value := values.Get(flag.Name).(type) {
	case []any:
		parts := make([]string, len(value))
		for i, part := range value {
			parts[i] = fmt.Sprint(part)
		}
		return strings.Join(parts, ","), nil
	case map[string]any:
		// Viper folds the keys of a map to lower case, and node ids have none of that.
		return "", fmt.Errorf("must be text or a list, such as [n1=HOST:PORT, n2=HOST:PORT], not a map")
	default:
		return fmt.Sprint(value), nil
	}
}

// source says where a value came from, for errors.
func source(values *viper.Viper, name, file string) string {
	if values.InConfig(name) {
		return fmt.Sprintf("%s in %s", name, file)
	}
	return envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// checkKeys refuses keys that are no flag of any command, so that a misspelt one
// is not left out silently. One file may serve several commands.
func checkKeys(root *cobra.Command, values *viper.Viper) error {
	known := map[string]bool{}
	var collect func(*cobra.Command)
	collect = func(cmd *cobra.Command) {
		for _, flags := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags()} {
			flags.VisitAll(func(flag *pflag.Flag) { known[flag.Name] = !notConfigurable(flag.Name) })
		}
		for _, child := range cmd.Commands() {
			collect(child)
		}
	}
	collect(root)
	for _, key := range values.AllKeys() {
		name, _, _ := strings.Cut(key, ".")
		if !known[name] {
			return fmt.Errorf("unknown key %q; the keys are the names of flags", key)
		}
	}
	return nil
}

func (a *app) checkGlobal() error {
	if !slices.Contains([]string{outputTable, outputJSON, outputJSONLines}, a.global.output) {
		return exit.Usagef("--output must be table, json or jsonl; it is %q", a.global.output)
	}
	// Without a port gRPC would look for one until --timeout ends.
	for _, endpoint := range a.global.endpoints {
		host, port, err := net.SplitHostPort(endpoint)
		if number, numberErr := strconv.ParseUint(port, 10, 16); err != nil || numberErr != nil || number == 0 || host == "" {
			return exit.Usagef("--endpoints must be HOST:PORT,…; %q is not", endpoint)
		}
	}
	if len(a.global.endpoints) == 0 {
		return exit.Usagef("--endpoints must not be empty")
	}
	if a.global.timeout <= 0 {
		return exit.Usagef("--timeout must be positive; it is %v", a.global.timeout)
	}
	_, err := a.logger()
	return err
}
