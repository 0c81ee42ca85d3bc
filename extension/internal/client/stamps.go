package client

import (
	"fmt"
	"sync/atomic"

	"github.com/tokenclock/tokenclock/extension/internal/reader"
)

// Stamps is which sources of times this process may use.
type Stamps string

// The sources that can be asked for.
const (
	StampsAuto   Stamps = "auto"   // the best that the host allows
	StampsRing   Stamps = "ring"   // the packet ring, or nothing
	StampsSocket Stamps = "socket" // the kernel's times of receives
	StampsUser   Stamps = "user"   // clock readings of this process
)

// ParseStamps refuses any other name; "" is auto.
func ParseStamps(name string) (Stamps, error) {
	switch s := Stamps(name); s {
	case "":
		return StampsAuto, nil
	case StampsAuto, StampsRing, StampsSocket, StampsUser:
		return s, nil
	}
	return "", fmt.Errorf("stamps %q is not one of auto, ring, socket, user", name)
}

var stampsAsked atomic.Pointer[Stamps]

// UseStamps chooses the source for connections that are opened from now on.
func UseStamps(s Stamps) { stampsAsked.Store(&s) }

// stampsAllow reports whether times may come from a source.
func stampsAllow(source reader.Stamp) bool {
	s := StampsAuto
	if requested := stampsAsked.Load(); requested != nil {
		s = *requested
	}
	switch s {
	case StampsSocket:
		return source != reader.StampRing
	case StampsUser:
		return source == reader.StampUser
	}
	return true // the ring may lose a packet: its connections' sockets tell a time, too
}
