package tokenclock

import (
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const modulePath = "github.com/tokenclock/tokenclock/extension"

// room is a package of this module: what of the module it may import, and whether it may know k6 and its JavaScript.
type room struct {
	may []string
	k6  bool
	why string
}

var rooms = map[string]room{
	"":       {[]string{"calibrate", "coordinate", "module", "records", "simulate"}, true, "it registers what k6 offers, and does nothing else"},
	"cmd/k6": {[]string{"", "sse"}, true, "the binary is the root and k6/x/sse"},
	"sse":    {[]string{"client", "clock", "stream", "vunet"}, true, "a module of its own beside the root, which does not know it"},

	"module":    {[]string{"access", "auth", "client", "clock", "coordinate", "heap", "host", "lengths", "parquet", "part", "process", "records", "results", "run", "scrape", "shape", "slab", "stream", "tally", "version", "vunet"}, true, "all that JavaScript sees joins the others here"},
	"calibrate": {[]string{"client", "clock", "host", "process", "simulate", "stream", "tally", "version"}, true, "a command that holds the client against the simulated server"},
	"simulate":  {[]string{"clock"}, false, "the truth shares no code with what is measured by it, but the clock"},

	"run":     {[]string{"access", "auth", "client", "clock", "host", "process", "records", "tally", "version"}, true, "it writes its lines, and judges client and host"},
	"records": {[]string{"client", "results", "stream", "tally", "version"}, true, "lines know what they hold; the run calls them, never they the run"},
	"process": {nil, true, "how k6's process ends is k6's event"},
	"vunet":   {[]string{"client"}, true, "k6's dialer as the client needs it"},
	"shape":   {[]string{"clock", "schedule", "stream", "tally"}, false, "load shapes are read and tested without k6 and JavaScript"},

	"client":   {[]string{"auth", "clock", "reader", "ring", "stream"}, false, "the measured client knows no load and no figures"},
	"access":   {[]string{"auth"}, false, "how a run is let in"},
	"ring":     {[]string{"clock", "reader"}, false, "packet times, with the reader's sends"},
	"reader":   {[]string{"clock"}, false, "the thread that stamps depends on next to nothing"},
	"tally":    {[]string{"stream"}, false, "figures are made of results"},
	"stream":   {nil, false, "the parser is pure"},
	"auth":     {nil, false, "keys and signatures"},
	"clock":    {nil, false, "the bottom"},
	"host":     {nil, false, "what the machine allows and does"},
	"heap":     {nil, false, "Go's collector"},
	"slab":     {nil, false, "memory for texts"},
	"lengths":  {nil, false, "rows of traces"},
	"parquet":  {nil, false, "a file format"},
	"schedule": {nil, false, "times and their arithmetic"},
	"results":  {nil, false, "a folder"},
	"scrape":   {nil, false, "Prometheus' text format"},
	"version":  {nil, false, "a number"},

	"coordinate": {nil, true, "a command of k6, and its exit codes"},
	"part":       {[]string{"shape"}, true, "k6's execution segments divide a load"},

	"wiretap":     {nil, false, "the witness shares no code with what it checks"},
	"wiretap/cmd": {[]string{"wiretap"}, false, "the witness as a program"},
}

// list runs go list, a line a package: its name here and what follows.
func list(t *testing.T, format string, args ...string) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-f", "{{.ImportPath}} " + format}, args...)...)
	out, err := cmd.Output()
	require.NoError(t, err)
	lines := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		lines[roomOf(words[0])] = words[1:]
	}
	return lines
}

// roomOf returns the short name of a package of this module, the path itself of another's.
func roomOf(path string) string {
	short, own := strings.CutPrefix(path, modulePath)
	if !own {
		return path
	}
	return strings.TrimPrefix(strings.TrimPrefix(short, "/"), "internal/")
}

func isOwn(path string) bool { return path == modulePath || strings.HasPrefix(path, modulePath+"/") }

func isK6(path string) bool {
	return strings.HasPrefix(path, "go.k6.io/") || strings.HasPrefix(path, "github.com/grafana/sobek")
}

func TestImportsKeepTheirDirections(t *testing.T) {
	packages := list(t, `{{join .Imports " "}}`, "./...")
	for name, imports := range packages {
		r, known := rooms[name]
		require.True(t, known, "package %q is not in the table: say what it may import, and why", name)
		for _, path := range imports {
			switch {
			case isOwn(path):
				require.Contains(t, r.may, roomOf(path), "%q may not import %q: %s", name, roomOf(path), r.why)
			case isK6(path):
				require.True(t, r.k6, "%q may not import %s: %s", name, path, r.why)
			}
		}
		for _, may := range r.may {
			require.True(t, slices.ContainsFunc(imports, func(path string) bool { return isOwn(path) && roomOf(path) == may }),
				"%q does not import %q any more; take it out of the table", name, may)
		}
	}
	for name := range rooms {
		require.Contains(t, packages, name, "the package is gone; take it out of the table")
	}
}

// What may not know k6 itself must not have it through another package either.
func TestImports_NothingBringsK6IndirectlyIn(t *testing.T) {
	var free []string
	for _, name := range slices.Sorted(maps.Keys(rooms)) {
		if !rooms[name].k6 {
			free = append(free, modulePath+"/internal/"+name)
		}
	}
	for name, deps := range list(t, `{{join .Deps " "}}`, free...) {
		for _, path := range deps {
			require.False(t, isK6(path), "%q has %s", name, path)
		}
	}
}
