package module

import (
	"fmt"
	"os"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/results"
)

// clearOld is `clearOld(dir)`: it makes room for this run's results before anything else can end the run.
func (i *instance) clearOld(dir string) {
	command := parseCommandLine(os.Args[1:])
	if !command.run {
		return // `k6 inspect` and `k6 archive` run the script's init code, too
	}
	tell := func(what, to string) {
		if env := i.vu.InitEnv(); env != nil && to != "" {
			env.Logger.Infof("tokenclock: %s held results of an earlier run; they are in %s now", what, to)
		}
	}
	if dir != "" {
		to, err := results.ClearFolder(dir, time.Now())
		if err != nil {
			i.refuse(fmt.Sprintf("tokenclock: RESULTS=%s cannot be used: %v", dir, err))
			return
		}
		tell("RESULTS="+dir, to)
	}
	if file := command.recordsFile(os.Getenv("K6_OUT")); file != "" {
		to, err := results.ClearRecords(file, time.Now())
		if err != nil {
			i.refuse(fmt.Sprintf("tokenclock: --out records=%s cannot be used: %v", file, err))
			return
		}
		tell("--out records="+file, to)
	}
}

// writeResult is `writeResult(path, text)`: "" or, in one line, why the file could not be written.
func (i *instance) writeResult(file, text string) string {
	if err := results.WriteWhole(file, text); err != nil {
		return err.Error()
	}
	return ""
}
