// Package tokenclock is a k6 extension that load-tests LLM serving endpoints. Importing it registers the module
// k6/x/tokenclock, the output `--out records=FILE` and the command `k6 x tokenclock`.
package tokenclock

import (
	"github.com/spf13/cobra"
	"go.k6.io/k6/v2/cmd/state"
	"go.k6.io/k6/v2/errext"
	"go.k6.io/k6/v2/errext/exitcodes"
	"go.k6.io/k6/v2/js/modules"
	"go.k6.io/k6/v2/output"
	"go.k6.io/k6/v2/subcommand"

	"github.com/tokenclock/tokenclock/extension/internal/calibrate"
	"github.com/tokenclock/tokenclock/extension/internal/coordinate"
	"github.com/tokenclock/tokenclock/extension/internal/module"
	"github.com/tokenclock/tokenclock/extension/internal/records"
	"github.com/tokenclock/tokenclock/extension/internal/simulate"
)

func init() {
	log := &records.Log{}
	modules.Register("k6/x/tokenclock", module.New(log))
	output.RegisterExtension("records", log.NewOutput)
	subcommand.RegisterExtension("tokenclock", newCommand)
}

// newCommand is `k6 x tokenclock`.
func newCommand(*state.GlobalState) *cobra.Command {
	c := &cobra.Command{
		Use:   "tokenclock",
		Short: "Load-test LLM serving endpoints: the simulated server, the client's own calibration, runs of several instances",
		// Without these cobra prints the help and exits with 0 for a misspelt command.
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(simulate.NewCommand(), calibrate.NewCommand(), coordinate.NewCommand(), coordinate.NewReadyCommand())
	// What cobra refuses ends with the code of what is asked wrongly; k6 has -1 (255) for it.
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return refused(err) })
	for _, each := range append(c.Commands(), c) {
		args := each.Args
		each.Args = func(c *cobra.Command, given []string) error { return refused(args(c, given)) }
	}
	return c
}

func refused(err error) error {
	return errext.WithExitCodeIfNone(err, exitcodes.InvalidConfig)
}
