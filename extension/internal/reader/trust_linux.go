//go:build linux && (amd64 || arm64) && !race && !tokenclock_debug

package reader

const debug = false
