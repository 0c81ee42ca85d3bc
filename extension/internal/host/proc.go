package host

import (
	"bytes"
	"fmt"
	"strconv"
)

// userHzNs is the unit of /proc/stat: USER_HZ is 100 on every platform that Go runs on.
const userHzNs = 10_000_000

// parseSteal reads from /proc/stat for how long the hypervisor ran something else while a processor of this machine had
// work, summed over processors, in ns, and how many processors those are.
func parseSteal(b []byte) (stolenNs int64, processors int, err error) {
	line, others, _ := bytes.Cut(b, []byte("\n"))
	fields := bytes.Fields(line) // cpu user nice system idle iowait irq softirq steal guest guest_nice
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return 0, 0, fmt.Errorf("/proc/stat: %q has no steal time", line)
	}
	ticks, err := strconv.ParseInt(string(fields[8]), 10, 64)
	if err != nil || ticks < 0 {
		return 0, 0, fmt.Errorf("/proc/stat: steal is %q; it must be a count", fields[8])
	}
	for bytes.HasPrefix(others, []byte("cpu")) {
		processors++
		_, others, _ = bytes.Cut(others, []byte("\n"))
	}
	return ticks * userHzNs, processors, nil
}

// parseWaited reads from a thread's schedstat for how long it was ready to run and waited for a core, in ns.
func parseWaited(b []byte) (int64, error) {
	fields := bytes.Fields(b) // time on a core, time waiting for one, turns
	if len(fields) < 3 {
		return 0, fmt.Errorf("schedstat: %q has no waiting time", b)
	}
	ns, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil || ns < 0 {
		return 0, fmt.Errorf("schedstat: waiting time is %q; it must be in ns", fields[1])
	}
	return ns, nil
}
