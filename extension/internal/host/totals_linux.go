package host

import (
	"os"

	"golang.org/x/sys/unix"
)

// linux reads /proc and /sys.
type linux struct {
	quota   quota
	threads map[string]int64 // waiting time by thread, as read last
	waited  int64            // since the first read, of threads that ended too
	read    bool
	steal   int64
	stolen  bool
	firstNs int64

	processors int
	offset     int64 // CLOCK_BOOTTIME - CLOCK_MONOTONIC
}

// Open returns this host.
func Open() Source { return &linux{quota: quota{root: "/"}} }

func (l *linux) Totals(steal bool) Totals {
	var t Totals
	t.WaitedNs, t.WaitedKnown = l.waitedNs()
	throttled, known := l.quota.total()
	t.ThrottledNs, t.Throttles, t.ThrottledKnown = throttled.ns, throttled.periods, known
	if steal {
		l.readSteal()
	}
	t.StolenNs, t.StolenKnown, t.Processors = l.steal, l.stolen, l.processors
	return t
}

func (l *linux) readSteal() {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return
	}
	ns, processors, err := parseSteal(b)
	if err != nil {
		return
	}
	l.processors = processors
	if !l.stolen {
		l.stolen, l.firstNs = true, ns
	}
	l.steal = max(ns-l.firstNs, l.steal)
}

// waitedNs adds up what each thread waited since the read before, so that the sum never shrinks when a thread ends.
func (l *linux) waitedNs() (int64, bool) {
	dir, err := os.Open("/proc/self/task")
	if err != nil {
		return l.waited, false
	}
	names, err := dir.Readdirnames(-1)
	_ = dir.Close()
	if err != nil {
		return l.waited, false
	}
	now := make(map[string]int64, len(names))
	var buf [128]byte
	for _, name := range names {
		ns, err := readWaited("/proc/self/task/"+name+"/schedstat", buf[:])
		if err != nil {
			continue // it ended meanwhile
		}
		now[name] = ns
		if before, known := l.threads[name]; known {
			l.waited += max(ns-before, 0)
		} else if l.read {
			l.waited += ns // it began after the first read
		}
	}
	l.threads, l.read = now, true
	return l.waited, len(now) > 0
}

func readWaited(file string, buf []byte) (int64, error) {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	n, err := unix.Read(fd, buf)
	_ = unix.Close(fd)
	if err != nil {
		return 0, err
	}
	return parseWaited(buf[:n])
}

func (l *linux) SuspendedNs() int64 {
	// A thread that loses its core between the readings would see a suspension, so one between close neighbours counts.
	const closeNs = 1_000_000
	for range 4 {
		before, boot, after := now(unix.CLOCK_MONOTONIC), now(unix.CLOCK_BOOTTIME), now(unix.CLOCK_MONOTONIC)
		if after-before < closeNs {
			l.offset = boot - before
			break
		}
	}
	return l.offset
}

func now(clockID int32) int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(clockID, &ts)
	return ts.Nano()
}
