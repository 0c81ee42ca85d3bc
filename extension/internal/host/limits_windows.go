package host

import "syscall"

// CheckCapacity knows no limit to check here.
func CheckCapacity(int) error { return nil }

// DescribeLimit names what ran out.
func DescribeLimit(errno syscall.Errno) string { return errno.Error() }
