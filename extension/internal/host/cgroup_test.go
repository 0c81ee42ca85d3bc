package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseCPUStat(t *testing.T) {
	const v1 = "nr_periods 900\nnr_throttled 37\nthrottled_time 2543000111\nnr_bursts 0\nburst_time 0\n"
	const v2 = "usage_usec 9000000\nuser_usec 1\nsystem_usec 2\nnice_usec 0\nnr_periods 900\nnr_throttled 37\nthrottled_usec 2543000\nnr_bursts 0\nburst_usec 0\n"
	for _, tt := range []struct {
		sentence, text string
		want           throttling
		err            string
	}{
		{"version 1 counts ns", v1, throttling{37, 2_543_000_111}, ""},
		{"version 2 counts us", v2, throttling{37, 2_543_000_000}, ""},
		{"a root of version 2 has no quota", "usage_usec 9000000\nuser_usec 1\nsystem_usec 2\n", throttling{}, ""},
		{"an empty file has none", "", throttling{}, ""},
		{"what is no number is refused", "nr_throttled many\n", throttling{}, `nr_throttled is "many"`},
		{"nor is a negative one taken", "throttled_usec -4\n", throttling{}, `throttled_usec is "-4"`},
		{"nor a line that broke off", "nr_throttled 3\nthrottled_usec", throttling{}, `throttled_usec is ""`},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			got, err := parseCPUStat([]byte(tt.text))
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

// The hierarchies as hosts show them: where the files with the CPU quota of this process are.
func TestCgroupDirs(t *testing.T) {
	const (
		unified = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
		hybrid  = "31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n" +
			"32 31 0:29 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw\n" +
			"33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:6 - cgroup cgroup rw,cpu,cpuacct\n" +
			"34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
		docker = "33 31 0:30 /docker/c0ffee /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
	)
	for _, tt := range []struct {
		sentence, membership, mountinfo string
		want                            []string
	}{
		{"version 2, with the slices above it", "0::/user.slice/user-0.slice/s.scope\n", unified, []string{
			"/sys/fs/cgroup/user.slice/user-0.slice/s.scope", "/sys/fs/cgroup/user.slice/user-0.slice", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup",
		}},
		{"version 2 in a cgroup namespace", "0::/\n", unified, []string{"/sys/fs/cgroup"}},
		{"version 1, beside controllers that are not cpu",
			"9:cpuset:/\n5:memory:/a\n4:cpu,cpuacct:/a/b\n", hybrid, []string{"/sys/fs/cgroup/cpu,cpuacct/a/b", "/sys/fs/cgroup/cpu,cpuacct/a", "/sys/fs/cgroup/cpu,cpuacct"}},
		{"hybrid: the quota is where the controller is", "4:cpu,cpuacct:/a\n1:name=systemd:/b\n0::/b\n", hybrid,
			[]string{"/sys/fs/cgroup/cpu,cpuacct/a", "/sys/fs/cgroup/cpu,cpuacct"}},
		{"hybrid without a cpu controller of version 1", "1:name=systemd:/b\n0::/b\n", hybrid, []string{"/sys/fs/cgroup/unified/b", "/sys/fs/cgroup/unified"}},
		{"a container of version 1 that sees the host's names", "4:cpu,cpuacct:/docker/c0ffee\n", docker, []string{"/sys/fs/cgroup/cpu,cpuacct"}},
		{"a cgroup made inside such a container", "4:cpu,cpuacct:/docker/c0ffee/x\n", docker,
			[]string{"/sys/fs/cgroup/cpu,cpuacct/x", "/sys/fs/cgroup/cpu,cpuacct"}},
		{"a mount of another container", "4:cpu,cpuacct:/docker/c0ffee2\n", docker, nil},
		{"a cgroup outside the namespace", "0::/../other\n", unified, nil},
		{"a mount from outside the namespace", "0::/\n", "31 23 0:28 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", nil},
		{"a name with a colon and a space", "0::/a b:c\n", "31 23 0:28 / /mnt/c\\040g rw - cgroup2 cgroup2 rw\n", []string{"/mnt/c g/a b:c", "/mnt/c g"}},
		{"no mount", "0::/\n", "", nil},
		{"no membership", "", unified, nil},
		{"lines that are none", "0:\nx\n\n", unified + "31\n - \n", nil},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			var got []string
			if cgroup, v2, ok := cpuMembership([]byte(tt.membership)); ok {
				got = cgroupDirs(cgroup, cpuMounts([]byte(tt.mountinfo), v2))
			}
			require.Equal(t, tt.want, got)
		})
	}
}

func TestQuotaOfACgroupAndItsAncestors(t *testing.T) {
	root := t.TempDir()
	write := func(file, text string) {
		file = filepath.Join(root, file)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	q := &quota{root: root}
	_, ok := q.total()
	require.False(t, ok, "no /proc")
	write("proc/self/cgroup", "0::/pod/app\n")
	write("proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
	_, ok = q.total()
	require.False(t, ok, "no cpu.stat")
	write("sys/fs/cgroup/pod/app/cpu.stat", "nr_throttled 100\nthrottled_usec 5000\n")
	write("sys/fs/cgroup/pod/cpu.stat", "nr_throttled 7\nthrottled_usec 900\n")
	got, ok := q.total()
	require.True(t, ok)
	require.Equal(t, throttling{}, got, "what was before the first read does not count")
	write("sys/fs/cgroup/pod/app/cpu.stat", "nr_throttled 101\nthrottled_usec 5010\n")
	write("sys/fs/cgroup/pod/cpu.stat", "nr_throttled 10\nthrottled_usec 1200\n")
	got, ok = q.total()
	require.True(t, ok)
	require.Equal(t, throttling{4, 310_000}, got, "its own quota and the pod's")

	write("proc/self/cgroup", "0::/other\n")
	write("sys/fs/cgroup/other/cpu.stat", "nr_throttled 9000\nthrottled_usec 9000000\n")
	got, ok = q.total()
	require.True(t, ok)
	require.Equal(t, throttling{4, 310_000}, got, "the history of a cgroup that it moved to is not its own")
	write("sys/fs/cgroup/other/cpu.stat", "nr_throttled 9001\nthrottled_usec 9000002\n")
	got, ok = q.total()
	require.True(t, ok)
	require.Equal(t, throttling{5, 312_000}, got)

	write("sys/fs/cgroup/other/cpu.stat", "nr_throttled ?\n")
	got, ok = q.total()
	require.False(t, ok, "a file that is not understood is no zero")
	require.Equal(t, throttling{5, 312_000}, got)
}
