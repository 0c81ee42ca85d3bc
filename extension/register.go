// Package tokenclock is a k6 extension that load-tests LLM serving endpoints: the module k6/x/tokenclock, the records
// output and the command `k6 x tokenclock`.
package tokenclock

import (
	"go.k6.io/k6/v2/js/modules"
	"go.k6.io/k6/v2/output"
	"go.k6.io/k6/v2/subcommand"
)

// Version is tokenclock's own.
const Version = "0.1.0"

func init() {
	modules.Register("k6/x/tokenclock", &rootModule{})
	output.RegisterExtension("records", newRecordsOutput)
	subcommand.RegisterExtension("tokenclock", newCommand)
}
