//go:build !tokenclock_nosse

package sse

import "go.k6.io/k6/v2/js/modules"

// The build tag leaves the name to xk6-sse, for a binary that has both: k6 panics when a name is registered twice.
func init() { modules.Register("k6/x/sse", New()) }
