package host

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// throttling is what cpu.stat says of a cgroup's CPU quota since the cgroup was made.
type throttling struct {
	periods int64 // in which the quota ran out
	ns      int64 // summed over processors
}

// parseCPUStat reads a cgroup's cpu.stat: version 1 has throttled_time in ns, version 2 throttled_usec. A file without
// either is that of a cgroup that can have no quota: a root, or one below which the cpu controller is off.
func parseCPUStat(b []byte) (throttling, error) {
	var t throttling
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		unitNs, into := int64(1), &t.ns
		switch key {
		case "nr_throttled":
			into = &t.periods
		case "throttled_usec":
			unitNs = 1000
		case "throttled_time":
		default:
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			return throttling{}, fmt.Errorf("cpu.stat: %s is %q; it must be a count", key, value)
		}
		*into = n * unitNs
	}
	return t, nil
}

// cpuMembership returns the cgroup that holds this process's CPU quota, by /proc/self/cgroup. On a hybrid host the
// controller is in version 1 and the unified hierarchy only groups processes, so a cpu line of version 1 wins.
func cpuMembership(b []byte) (cgroup string, v2, ok bool) {
	for line := range strings.Lines(string(b)) {
		id, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, name, found := strings.Cut(rest, ":")
		if !found || !strings.HasPrefix(name, "/") {
			continue
		}
		if id == "0" && controllers == "" {
			cgroup, v2, ok = name, true, true
			continue
		}
		if hasWord(controllers, "cpu") {
			return name, false, true
		}
	}
	return cgroup, v2, ok
}

// mount is a mounted cgroup hierarchy: the directory of cgroup root is at point.
type mount struct{ root, point string }

// cpuMounts returns where the hierarchy that holds CPU quotas is mounted, by /proc/self/mountinfo.
func cpuMounts(b []byte, v2 bool) []mount {
	var mounts []mount
	for line := range strings.Lines(string(b)) {
		before, after, ok := strings.Cut(line, " - ")
		fields, fs := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(fs) < 3 {
			continue
		}
		if v2 && fs[0] == "cgroup2" || !v2 && fs[0] == "cgroup" && hasWord(fs[2], "cpu") {
			mounts = append(mounts, mount{unescape(fields[3]), unescape(fields[4])})
		}
	}
	return mounts
}

func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// unescape undoes mountinfo's octal escapes of space, tab, newline and backslash.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// cgroupDirs returns the directory of a cgroup and those of its ancestors up to the mount, any of which may have a quota.
// None where no mount shows the cgroup, as where the hierarchy was mounted in another cgroup namespace.
func cgroupDirs(cgroup string, mounts []mount) []string {
	for _, m := range mounts {
		below, ok := strings.CutPrefix(cgroup, strings.TrimSuffix(m.root, "/"))
		if !ok || below != "" && below[0] != '/' || hasParent(cgroup) || hasParent(m.root) {
			continue
		}
		var dirs []string
		for below = path.Clean("/" + below); below != "/"; below = path.Dir(below) {
			dirs = append(dirs, path.Join(m.point, below))
		}
		return append(dirs, m.point)
	}
	return nil
}

// hasParent reports whether a path leads out of the cgroup namespace.
func hasParent(cgroup string) bool {
	for part := range strings.SplitSeq(cgroup, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

// quota reads how long this process's cgroup, or one above it, was out of CPU quota.
type quota struct {
	root string // of the file system; "/" but for tests

	membership []byte // as the files were found by
	files      []string
	last       throttling
	sum        throttling // since the first read; goes on where the process moves to another cgroup
	read       bool
}

// total returns the throttling since the first call; false where the host does not say.
func (q *quota) total() (throttling, bool) {
	membership, err := os.ReadFile(filepath.Join(q.root, "proc/self/cgroup"))
	if err != nil {
		return q.sum, false
	}
	moved := !bytes.Equal(membership, q.membership)
	if moved {
		q.membership = membership
		q.files = q.find(membership)
	}
	now, ok := q.sumOf(q.files)
	if !ok {
		q.membership = nil // find them anew
		return q.sum, false
	}
	if q.read && !moved {
		q.sum.ns += max(now.ns-q.last.ns, 0)
		q.sum.periods += max(now.periods-q.last.periods, 0)
	}
	q.last, q.read = now, true
	return q.sum, true
}

func (q *quota) find(membership []byte) []string {
	cgroup, v2, ok := cpuMembership(membership)
	if !ok {
		return nil
	}
	mountinfo, err := os.ReadFile(filepath.Join(q.root, "proc/self/mountinfo"))
	if err != nil {
		return nil
	}
	dirs := cgroupDirs(cgroup, cpuMounts(mountinfo, v2))
	files := make([]string, len(dirs))
	for k, dir := range dirs {
		files[k] = filepath.Join(q.root, dir, "cpu.stat")
	}
	return files
}

// sumOf adds up the cgroup and its ancestors: each counts only what its own quota took. The cgroup's own file must be
// there; an ancestor may be hidden.
func (q *quota) sumOf(files []string) (sum throttling, ok bool) {
	for k, file := range files {
		b, err := os.ReadFile(file)
		if err != nil && k > 0 {
			continue
		}
		t, parseErr := parseCPUStat(b)
		if err != nil || parseErr != nil {
			return throttling{}, false
		}
		sum.ns += t.ns
		sum.periods += t.periods
	}
	return sum, len(files) > 0
}
