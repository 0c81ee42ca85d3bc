package host

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestMain is the watched process where a test starts this binary once more: it ticks, and says what it saw when its
// standard input ends.
func TestMain(m *testing.M) {
	switch os.Getenv("TOKENCLOCK_HOST_TEST") {
	case "":
		os.Exit(m.Run())
	case "burn":
		go func() {
			for {
				runtime.Gosched()
			}
		}()
	}
	watched()
}

type seen struct {
	Sums
	LatestMs float64 // the longest time between two ticks
}

func watched() {
	over := make(chan struct{})
	input := bufio.NewReader(os.Stdin)
	_, _ = input.ReadString('\n') // it is where the test wants it
	go func() {
		_, _ = io.ReadAll(input)
		close(over)
	}()
	base := time.Now()
	w := NewWatch(Open(), 10*ms)
	latestNs, lastNs := int64(0), int64(time.Since(base))
	for tick := 0; ; tick++ {
		nowNs := int64(time.Since(base))
		latestNs, lastNs = max(latestNs, nowNs-lastNs), nowNs
		var u unix.Rusage
		_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
		w.Tick(nowNs, u.Utime.Nano()+u.Stime.Nano())
		if tick == 50 {
			fmt.Println("ready")
		}
		select {
		case <-over:
			w.Close(nowNs)
			b, _ := json.Marshal(seen{w.Between(0, nowNs), float64(latestNs) / 1e6})
			fmt.Println(string(b))
			os.Exit(0)
		default:
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// child is a watched process that a test started.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
}

func startChild(t *testing.T, mode string) *child {
	t.Helper()
	c := &child{t: t, cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), "TOKENCLOCK_HOST_TEST="+mode)
	c.cmd.Stderr = os.Stderr
	var err error
	c.stdin, err = c.cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	})
	c.lines = bufio.NewScanner(stdout)
	return c
}

func (c *child) begin() {
	_, err := c.stdin.Write([]byte("\n"))
	require.NoError(c.t, err)
	require.True(c.t, c.lines.Scan(), "the child ended")
	require.Equal(c.t, "ready", c.lines.Text())
}

func (c *child) end() seen {
	require.NoError(c.t, c.stdin.Close())
	require.True(c.t, c.lines.Scan(), "the child ended")
	var s seen
	require.NoError(c.t, json.Unmarshal(c.lines.Bytes(), &s))
	return s
}

func (c *child) state() string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	require.NoError(c.t, err)
	_, after, _ := strings.Cut(string(b), ") ")
	return after[:1]
}

func TestWatch_StoppedProcessHasItsStops(t *testing.T) {
	c := startChild(t, "watch")
	c.begin()
	const least = 1500 * time.Millisecond
	longest := 0.0
	for range 2 {
		from := time.Now()
		require.NoError(t, c.cmd.Process.Signal(unix.SIGSTOP))
		for c.state() != "T" {
			time.Sleep(time.Millisecond)
		}
		stopped := time.Now()
		for time.Since(stopped) < least {
			time.Sleep(10 * time.Millisecond)
		}
		require.NoError(t, c.cmd.Process.Signal(unix.SIGCONT))
		longest = max(longest, float64(time.Since(from))/1e6)
		for wait := time.Now(); time.Since(wait) < 300*time.Millisecond; { // so that the two stops are two gaps
			time.Sleep(10 * time.Millisecond)
		}
	}
	s := c.end()
	require.Equal(t, int64(2), s.Stopped.Count, "%+v", s)
	require.GreaterOrEqual(t, s.Stopped.Total, 2*1000.0, "ms; a third may be work and waiting")
	require.GreaterOrEqual(t, s.Stopped.Longest, 1000.0)
	require.LessOrEqual(t, s.Stopped.Longest, longest+500, "ms; nor longer than it was")
	require.Zero(t, s.Suspended)
}

// A process that has to share a core with others is late, which is no stop.
func TestWatch_StarvedProcessHasNoStops(t *testing.T) {
	runtime.LockOSThread() // a child has its parent thread's cores
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(0, &all))
	for cpu := range len(all) * 64 {
		if all.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	require.NoError(t, unix.SchedSetaffinity(0, &one))
	defer func() { require.NoError(t, unix.SchedSetaffinity(0, &all)) }()
	c := startChild(t, "burn")
	c.begin()
	if err := unix.Setpriority(unix.PRIO_PROCESS, c.cmd.Process.Pid, 19); err != nil {
		t.Logf("the child keeps its priority: %v", err)
	}
	for range 6 {
		hog := exec.Command("sh", "-c", "while :; do :; done")
		require.NoError(t, hog.Start())
		t.Cleanup(func() {
			_ = hog.Process.Kill()
			_ = hog.Wait()
		})
	}
	require.NoError(t, unix.SchedSetaffinity(0, &all))
	for from := time.Now(); time.Since(from) < 2*time.Second; {
		time.Sleep(10 * time.Millisecond)
	}
	s := c.end()
	if s.LatestMs < 10+float64(MinPauseNs)/1e6 {
		t.Skipf("six busy processes on its core made it at most %.1f ms late", s.LatestMs-10)
	}
	require.Zero(t, s.Stopped, "%+v", s)
	require.Zero(t, s.Suspended)
}

func TestWatch_ThrottledProcessHasItsQuota(t *testing.T) {
	dir := quotaCgroup(t)
	c := startChild(t, "burn")
	procs := filepath.Join(dir, "cgroup.procs")
	if err := os.WriteFile(procs, fmt.Appendf(nil, "%d", c.cmd.Process.Pid), 0o600); err != nil {
		t.Skipf("a process cannot be put into a cgroup here: %v", err)
	}
	read := func() throttling {
		b, err := os.ReadFile(filepath.Join(dir, "cpu.stat"))
		require.NoError(t, err)
		stat, err := parseCPUStat(b)
		require.NoError(t, err)
		return stat
	}
	// The child goes on being throttled until it is gone, so the truth has two bounds: what the kernel counted from after the
	// watch began to before it ended, and from before it began to after it ended.
	before := read()
	c.begin()
	begun := read()
	for from := time.Now(); time.Since(from) < 2*time.Second; {
		time.Sleep(10 * time.Millisecond)
	}
	ending := read()
	s := c.end()
	ended := read()
	if ending.periods-begun.periods < 3 {
		t.Skipf("the kernel throttled a busy process with a tenth of a core %d times in 2 s", ending.periods-begun.periods)
	}
	require.NotNil(t, s.Throttled)
	require.GreaterOrEqual(t, s.Throttled.Total, float64(ending.ns-begun.ns)/1e6)
	require.LessOrEqual(t, s.Throttled.Total, float64(ended.ns-before.ns)/1e6)
	require.GreaterOrEqual(t, s.Throttled.Count, ending.periods-begun.periods)
	require.LessOrEqual(t, s.Throttled.Count, ended.periods-before.periods)
	require.GreaterOrEqual(t, s.Throttled.Longest, float64(MinPauseNs)/1e6, "it ran 10 ms of each 100")
	require.Zero(t, s.Stopped, "it was throttled, not stopped: %+v", s)
}

// quotaCgroup makes a cgroup below this process's own with a tenth of a core, for the test's time; where this machine does
// not let it, the test is skipped.
func quotaCgroup(t *testing.T) string {
	t.Helper()
	membership, err := os.ReadFile("/proc/self/cgroup")
	require.NoError(t, err)
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	cgroup, v2, ok := cpuMembership(membership)
	dirs := cgroupDirs(cgroup, cpuMounts(mountinfo, v2))
	if !ok || len(dirs) == 0 {
		t.Skip("no cgroup hierarchy with CPU quotas is mounted here")
	}
	dir := filepath.Join(dirs[0], fmt.Sprintf("tokenclock-test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("no cgroup can be made here: %v", err)
	}
	t.Cleanup(func() {
		for range 500 {
			if err = os.Remove(dir); !errors.Is(err, unix.EBUSY) { // until the child has left it
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		require.NoError(t, err)
	})
	limits := [][2]string{{"cpu.cfs_period_us", "100000"}, {"cpu.cfs_quota_us", "10000"}}
	if v2 {
		limits = [][2]string{{"cpu.max", "10000 100000"}}
	}
	for _, limit := range limits {
		if err := os.WriteFile(filepath.Join(dir, limit[0]), []byte(limit[1]), 0o600); err != nil {
			t.Skipf("no CPU quota can be set here: %v", err)
		}
	}
	return dir
}
