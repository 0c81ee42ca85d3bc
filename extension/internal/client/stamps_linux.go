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

// StampSource returns the best source of times that connections opened from now on have, and why it is not a better one
// ("" where there is none, or where it was asked for).
func StampSource() (source Stamps, why string) {
	if sharedRing() != nil {
		return StampsRing, ""
	}
	if stampsAllow(reader.StampRing) {
		_, err := openRing()
		why = err.Error()
	}
	if stampsAllow(reader.StampSocket) {
		return StampsSocket, why
	}
	return StampsUser, why
}

// RingStats returns what the packet ring counted; false where there is none.
func RingStats() (ring.Stats, bool) {
	if r := sharedRing(); r != nil {
		return r.Stats(), true
	}
	return ring.Stats{}, false
}
