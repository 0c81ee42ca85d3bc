//go:build linux && (amd64 || arm64)

package client

import (
	"sync"

	"github.com/tokenclock/tokenclock/extension/internal/reader"
	"github.com/tokenclock/tokenclock/extension/internal/ring"
)

var openRing = sync.OnceValues(ring.Open)

// sharedRing is the process's packet ring, or nil.
func sharedRing() *ring.Ring {
	if !stampsAllow(reader.StampRing) {
		return nil
	}
	r, err := openRing()
	if err != nil {
		return nil
	}
	return r
}
