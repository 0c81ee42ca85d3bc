package host

import "golang.org/x/sys/windows"

// CPUNs returns the processor time that the process has used, or 0 where it is not to be had.
func CPUNs() int64 {
	var created, exited, kernel, user windows.Filetime
	if windows.GetProcessTimes(windows.CurrentProcess(), &created, &exited, &kernel, &user) != nil {
		return 0
	}
	ns := func(f windows.Filetime) int64 { return (int64(f.HighDateTime)<<32 | int64(f.LowDateTime)) * 100 }
	return ns(kernel) + ns(user)
}
