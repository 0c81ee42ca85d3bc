package module

import (
	"archive/tar"
	"encoding/json"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// given is what the user set for this run, by the way in which it was set. k6 hands scripts one __ENV in which -e and the
// whole environment are mixed: a CI image's TIMEOUT would look like one of the user's own.
type given struct {
	// Set with -e, on this command line or on that of `k6 archive`.
	Options map[string]string `js:"options"`
	// Variables of the environment that are meant for a run: TOKENCLOCK_*, BASE_URL and API_KEY.
	Environment map[string]string `js:"environment"`
	// WorkingDir is the folder that relative paths of the user's start from; "" where it is not known.
	WorkingDir string `js:"workingDir"`
	// Mixed reports whether the script comes from an archive that holds the environment of another machine beside its options.
	Mixed bool `js:"mixed"`
	// LoadFlags are k6's own flags, as k6 2.3 and later have them, that would run a part of the load: --once, --scenario.
	LoadFlags []string `js:"loadFlags"`
}

// commandLine is what is read of k6's own arguments.
type commandLine struct {
	options map[string]string // of -e and --env
	outputs []string          // of -o and --out
	run     bool              // the command is one that sends load
	packs   bool              // the command makes an archive of the files that are read
	words   []string          // all arguments, for finding an archive among them
	load    []string          // flags that change the load
	quiet   bool              // -q
}

// parseCommandLine reads k6's arguments (without the program's name) as k6's own parser does.
func parseCommandLine(args []string) commandLine {
	flags := (&cobra.Command{}).Flags()
	flags.ParseErrorsWhitelist.UnknownFlags = true
	env := flags.StringArrayP("env", "e", nil, "")
	out := flags.StringArrayP("out", "o", nil, "")
	// The other short ones, because several may share a dash.
	for _, short := range []string{"p", "w", "l", "v", "h"} {
		flags.BoolP("bool-"+short, short, false, "")
	}
	for _, short := range []string{"u", "d", "i", "s", "c", "a", "t"} {
		flags.StringArrayP("value-"+short, short, nil, "")
	}
	quiet := flags.BoolP("quiet", "q", false, "")
	once := flags.Bool("once", false, "")
	scenario := flags.StringArray("scenario", nil, "")
	_ = flags.Parse(args) // k6 itself has refused what cannot be parsed
	c := commandLine{options: map[string]string{}, outputs: *out, run: slices.Contains(args, "run"), words: args}
	c.packs = !c.run || slices.Contains(args, "cloud") // which uploads one
	c.quiet = *quiet
	if *once {
		c.load = append(c.load, "--once")
	}
	if len(*scenario) > 0 {
		c.load = append(c.load, "--scenario")
	}
	for _, pair := range *env {
		name, value, _ := strings.Cut(pair, "=")
		c.options[name] = value
	}
	return c
}

// recordsFile returns the file of `--out records=FILE` (or K6_OUT, as k6 reads it where --out is not given); "" for none.
func (c commandLine) recordsFile(k6Out string) string {
	outputs := c.outputs
	if len(outputs) == 0 {
		outputs = strings.Split(k6Out, ",")
	}
	for _, o := range outputs {
		if file, ok := strings.CutPrefix(o, "records="); ok {
			return file
		}
	}
	return ""
}

// archivedOptions returns what -e set when the archive among the arguments was made; ok is false where there is none.
func (c commandLine) archivedOptions() (options map[string]string, ok bool) {
	for _, word := range c.words {
		if options, ok := optionsInArchive(word); ok {
			return options, true
		}
	}
	return nil, false
}

func optionsInArchive(file string) (map[string]string, bool) {
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		return nil, false
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, false
	}
	defer func() { _ = f.Close() }()
	r := tar.NewReader(f)
	for {
		header, err := r.Next()
		if err != nil {
			return nil, false
		}
		if header.Name != "metadata.json" {
			continue
		}
		var metadata struct {
			Env map[string]string `json:"env"`
		}
		err = json.NewDecoder(r).Decode(&metadata)
		return metadata.Env, err == nil
	}
}

// fromEnvironment reports whether a variable of this name is meant for a run.
func fromEnvironment(name string) bool {
	return strings.HasPrefix(name, "TOKENCLOCK_") || name == "BASE_URL" || name == "API_KEY"
}

// readGiven sorts what a script finds in __ENV (env) by where it came from. An option of the command line counts for more
// than one of the archive.
func readGiven(c commandLine, environ []string, env map[string]string) given {
	g := given{Options: map[string]string{}, Environment: map[string]string{}, LoadFlags: c.load}
	inherited := map[string]bool{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		inherited[name] = true
		if fromEnvironment(name) {
			g.Environment[name] = value
		}
	}
	archived, isArchive := c.archivedOptions()
	// `k6 archive` leaves the environment out unless it is told to put it in.
	if _, mixed := archived["PATH"]; isArchive && mixed {
		g.Mixed = true
	}
	for name, value := range env {
		// An archive that was read from stdin. K6_* are k6's own: it puts K6_FEATURES there for --features and for older names.
		if !inherited[name] && !strings.HasPrefix(name, "K6_") {
			g.Options[name] = value
		}
	}
	for name, value := range archived {
		g.Options[name] = value
	}
	for name, value := range c.options {
		g.Options[name] = value
	}
	g.WorkingDir, _ = os.Getwd()
	return g
}

// settings is `settings()`.
func (i *instance) settings() given {
	var env map[string]string
	if init := i.vu.InitEnv(); init != nil {
		env = init.RuntimeOptions.Env
	}
	return readGiven(parseCommandLine(os.Args[1:]), os.Environ(), env)
}
