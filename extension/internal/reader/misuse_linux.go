//go:build linux && (amd64 || arm64) && (race || tokenclock_debug)

package reader

// debug makes a Conn that is used after its Close panic: its cell may be another connection's by then.
const debug = true
