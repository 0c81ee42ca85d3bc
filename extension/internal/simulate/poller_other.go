//go:build !linux

package simulate

// newPoller returns the portable poller, the only one on this system.
func newPoller(config *Config, l *loop, _ *truth) (poller, error) {
	return newPortablePoller(config, l)
}
