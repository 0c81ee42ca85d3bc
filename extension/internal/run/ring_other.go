//go:build !linux || (!amd64 && !arm64)

package run

import "github.com/tokenclock/tokenclock/extension/internal/host"

// ringStats returns nothing: packet rings exist on Linux only.
func ringStats() (host.RingStats, bool) { return host.RingStats{}, false }
