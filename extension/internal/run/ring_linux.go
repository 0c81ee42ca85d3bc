//go:build linux && (amd64 || arm64)

package run

import (
	"github.com/tokenclock/tokenclock/extension/internal/client"
	"github.com/tokenclock/tokenclock/extension/internal/host"
)

// ringStats returns what the process's packet ring counted; false where there is none.
func ringStats() (host.RingStats, bool) {
	s, ok := client.RingStats()
	return host.RingStats{Packets: s.Packets, Drops: s.Drops, LostBytes: s.LostBytes, Duplicates: s.Duplicates, Reordered: s.Reordered}, ok
}
