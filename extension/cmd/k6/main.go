// Command k6 is k6 with the tokenclock extension and k6/x/sse compiled in.
package main

import (
	"go.k6.io/k6/v2/cmd"

	_ "github.com/tokenclock/tokenclock/extension"
	_ "github.com/tokenclock/tokenclock/extension/sse"
)

func main() { cmd.Execute() }
