package sse

import "go.k6.io/k6/v2/js/modules"

// Only a binary that imports this package has k6/x/sse: k6 panics when two modules register one name, and xk6-sse has it, too.
func init() { modules.Register("k6/x/sse", New()) }
