//go:build !tokenclock_nosse

package tokenclock

// Registers k6/x/sse; the build tag leaves it out (docs/xk6-sse.md).
import _ "github.com/tokenclock/tokenclock/extension/sse"
