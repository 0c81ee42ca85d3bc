package reader

// Stamp is where the time of received bytes comes from.
type Stamp uint8

// The sources, worst first.
const (
	StampUser   Stamp = iota // a clock reading after the receive
	StampSocket              // the kernel's time of the last segment of the receive (SO_TIMESTAMPING)
	StampRing                // the kernel's time of the packet that brought the last of the bytes (package ring)
)
