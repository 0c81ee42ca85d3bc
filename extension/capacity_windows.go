package tokenclock

import "syscall"

// checkCapacity knows no limit to check here.
func checkCapacity(int) error { return nil }

func describeLimit(errno syscall.Errno) string { return errno.Error() }
