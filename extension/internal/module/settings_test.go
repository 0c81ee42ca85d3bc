package module

import (
	"archive/tar"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOptionsAreReadFromTheCommandLineAsK6ReadsThem(t *testing.T) {
	for _, row := range []struct {
		args    []string
		options map[string]string
		why     string
	}{
		{[]string{"run", "x.js", "-e", "RATE=5", "--env", "API=chat"}, map[string]string{"RATE": "5", "API": "chat"}, "both spellings"},
		{[]string{"run", "-eRATE=5", "--env=EXTRA_BODY={\"a\":\"b=c\"}", "x.js"}, map[string]string{"RATE": "5", "EXTRA_BODY": `{"a":"b=c"}`}, "joined; a value may hold ="},
		{[]string{"-q", "run", "--no-color", "-qe", "RATE=5", "x.js"}, map[string]string{"RATE": "5"}, "short ones share a dash"},
		{[]string{"run", "-e", "RATE=5", "-e", "RATE=6", "x.js"}, map[string]string{"RATE": "6"}, "the last counts"},
		{[]string{"run", "-e", "RATE", "-e", "API=", "x.js"}, map[string]string{"RATE": "", "API": ""}, "without a value"},
		{[]string{"run", "--out", "json=-e", "-u", "3", "--tag", "a=b", "x.js"}, map[string]string{}, "none"},
	} {
		c := parseCommandLine(row.args)
		require.Equal(t, row.options, c.options, row.why)
		require.True(t, c.run, row.why)
	}
	require.True(t, parseCommandLine([]string{"run", "-qe", "RATE=5", "x.js"}).quiet)
	require.True(t, parseCommandLine([]string{"--quiet", "run", "x.js"}).quiet)
	require.False(t, parseCommandLine([]string{"run", "-e", "q=--quiet", "x.js"}).quiet)
	require.False(t, parseCommandLine([]string{"archive", "-e", "RATE=5", "x.js"}).run)
	for command, packs := range map[string]bool{"run x.js": false, "archive x.js": true, "inspect x.js": true, "cloud x.js": true, "cloud run --local-execution x.js": true} {
		require.Equal(t, packs, parseCommandLine(strings.Fields(command)).packs, command)
	}
}

func TestSettings_K6sOwnEnvironmentIsNoOption(t *testing.T) {
	env := map[string]string{"K6_FEATURES": "native-histograms", "RATE": "5"}
	require.Equal(t, map[string]string{"RATE": "5"}, readGiven(parseCommandLine([]string{"run", "-"}), nil, env).Options)
	given := readGiven(parseCommandLine([]string{"run", "-e", "K6_FEATURES=x", "x.js"}), nil, env)
	require.Equal(t, "x", given.Options["K6_FEATURES"], "the user's own, which is refused as no setting")
}

func TestFlagsThatRunAPartOfTheLoadAreFound(t *testing.T) {
	for _, args := range [][]string{{"run", "--once", "x.js"}, {"run", "x.js", "--once=true"}} {
		require.Equal(t, []string{"--once"}, readGiven(parseCommandLine(args), nil, nil).LoadFlags)
	}
	for _, args := range [][]string{{"run", "--scenario", "a", "x.js"}, {"run", "--scenario=a", "x.js"}} {
		require.Equal(t, []string{"--scenario"}, readGiven(parseCommandLine(args), nil, nil).LoadFlags)
	}
	require.Empty(t, readGiven(parseCommandLine([]string{"run", "-e", "A=--once", "--tag", "scenario=a", "x.js"}), nil, nil).LoadFlags)
}

func TestSettings_RecordsFileIsFoundBeforeItsOutputStarts(t *testing.T) {
	require.Equal(t, "a.gz", parseCommandLine([]string{"run", "x.js", "-o", "json=b", "--out", "records=a.gz"}).recordsFile("records=c"))
	require.Equal(t, "c", parseCommandLine([]string{"run", "x.js"}).recordsFile("cloud,records=c"))
	require.Equal(t, "", parseCommandLine([]string{"run", "x.js", "--out", "json=b"}).recordsFile("records=c"), "K6_OUT counts only without --out")
}

// archive writes a k6 archive with these options and returns its path.
func archive(t *testing.T, env map[string]string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "archive.tar")
	f, err := os.Create(file)
	require.NoError(t, err)
	w := tar.NewWriter(f)
	for name, content := range map[string]any{"data": "x", "metadata.json": map[string]any{"type": "js", "env": env}} {
		b, err := json.Marshal(content)
		require.NoError(t, err)
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(b))}))
		_, err = w.Write(b)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, f.Close())
	return file
}

func TestSettings_EnvironmentGivesOnlyPrefixedNames(t *testing.T) {
	environ := []string{"TIMEOUT=300", "TRACE=1", "BASE_URL=http://a", "API_KEY=k", "TOKENCLOCK_SEED=2", "PATH=/bin", "BASE_URLS=x"}
	ofK6 := map[string]string{"TIMEOUT": "300", "TRACE": "1", "PATH": "/bin", "RATE": "5", "TIMEOUTS": "1"}
	g := readGiven(parseCommandLine([]string{"run", "x.js", "-e", "RATE=5", "-e", "TIMEOUT=300"}), environ, ofK6)
	require.Equal(t, map[string]string{"BASE_URL": "http://a", "API_KEY": "k", "TOKENCLOCK_SEED": "2"}, g.Environment)
	require.Equal(t, map[string]string{"RATE": "5", "TIMEOUT": "300", "TIMEOUTS": "1"}, g.Options,
		"an option is one although the environment has the same; what neither has came with an archive")
	require.False(t, g.Mixed)
	require.NotEmpty(t, g.WorkingDir)
}

func TestSettings_ArchivedOptionsAreOptions(t *testing.T) {
	file := archive(t, map[string]string{"TIMEOUT": "5s", "RATE": "5"})
	// k6 lets the environment win over the archive; to a run the environment's TIMEOUT says nothing.
	g := readGiven(parseCommandLine([]string{"run", file, "-e", "RATE=6"}), []string{"TIMEOUT=300"}, map[string]string{"TIMEOUT": "300", "RATE": "6"})
	require.Equal(t, map[string]string{"TIMEOUT": "5s", "RATE": "6"}, g.Options)
	require.False(t, g.Mixed)

	file = archive(t, map[string]string{"TIMEOUT": "5s", "PATH": "/bin"})
	require.True(t, readGiven(parseCommandLine([]string{"run", file}), nil, nil).Mixed, "--include-system-env-vars")
}
