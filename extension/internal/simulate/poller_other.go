//go:build !linux

package simulate

// newPoller returns the portable poller, the only one on this system.
func newPoller(_ *Config, l *loop) (poller, error) { return newPortablePoller(l), nil }
