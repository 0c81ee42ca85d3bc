// Command k6 is k6 with the tokenclock extension compiled in.
package main

import (
	"go.k6.io/k6/v2/cmd"

	_ "github.com/tokenclock/tokenclock/extension"
)

func main() { cmd.Execute() }
