package host

import "runtime"

// Cores returns how many processors this process may use: GOMAXPROCS follows its affinity and its container's limit.
func Cores() int { return min(runtime.NumCPU(), runtime.GOMAXPROCS(0)) }
