package tokenclock

import (
	"github.com/spf13/cobra"
	"go.k6.io/k6/v2/cmd/state"

	"github.com/tokenclock/tokenclock/extension/internal/simulate"
)

// newCommand is `k6 x tokenclock`.
func newCommand(*state.GlobalState) *cobra.Command {
	c := &cobra.Command{
		Use:   "tokenclock",
		Short: "Load-test LLM serving endpoints: the simulated server and the client's own calibration",
	}
	c.AddCommand(simulate.NewCommand())
	c.AddCommand(newCalibrateCommand())
	return c
}
