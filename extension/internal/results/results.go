// Package results is the folder of a run's results: it makes room in it and writes files as a whole.
package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// resultNames are the files and folders of a run's results, by name or pattern. run/ and report/ make more of them than k6 does.
var resultNames = []string{
	"summary.json", "config.json", "records.ndjson", "records.ndjson.gz", "records-rest.ndjson", "seconds.csv", "server-metrics.json",
	"capacity.json", "batch-burst*.json", "embeddings-burst*.json", "thresholds.csv",
	"report.html", "tables", "pictures", "full", "prefill", "start.json", "start.md", "start.junit.xml",
	"gate.json", "gate.md", "gate.junit.xml", "compare.json", "compare.md", "compare.junit.xml", "compare.html",
}

// ErrNotOurs says that a folder holds a file of a result's name that is no result.
var ErrNotOurs = errors.New("is not a result of tokenclock")

// ClearFolder moves what an earlier run left in a folder into a new folder previous-TIME in it, so that nothing of it can
// be taken for this run's, not even when this run ends before it begins. It returns that folder, "" where there was nothing
// to move. A file that has a result's name and is none is left alone: ErrNotOurs.
func ClearFolder(dir string, now time.Time) (string, error) {
	entries, _ := os.ReadDir(dir) // a folder that is not there, or cannot be read, is the writer's to report
	var old []string
	for _, entry := range entries {
		if slices.ContainsFunc(resultNames, func(pattern string) bool {
			matches, _ := filepath.Match(pattern, entry.Name())
			return matches
		}) {
			old = append(old, entry.Name())
		}
	}
	if len(old) == 0 {
		return "", nil
	}
	for _, name := range []string{"summary.json", "config.json"} {
		if err := requireResult(filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	return moveAside(dir, old, now)
}

// requireResult sees that a summary.json or config.json, if it is there, is one that a run wrote.
func requireResult(file string) error {
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var o map[string]json.RawMessage
	if len(bytes.TrimSpace(b)) == 0 { // the disk was full
		return nil
	}
	if json.Unmarshal(b, &o) == nil && (o["scenario"] != nil && o["schema"] != nil || o["THRESHOLDS"] != nil && o["RESULTS"] != nil) {
		return nil
	}
	return fmt.Errorf("%s %w; name another folder", file, ErrNotOurs)
}

// moveAside moves entries of a folder into a new folder in it that bears the time.
func moveAside(dir string, names []string, now time.Time) (string, error) {
	base := filepath.Join(dir, "previous-"+now.UTC().Format("2006-01-02-150405"))
	to := base
	for k := 2; ; k++ {
		err := os.Mkdir(to, 0o755)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrExist) {
			return "", err
		}
		to = fmt.Sprintf("%s-%d", base, k)
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(to, name)); err != nil {
			return "", err
		}
	}
	return to, nil
}

// ClearRecords does the same for the file of `--out records=FILE`, wherever it is.
func ClearRecords(file string, now time.Time) (string, error) {
	info, err := os.Lstat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return "", nil // nothing there, or no file that holds anything: /dev/stdout, a pipe
	}
	return moveAside(filepath.Dir(file), []string{filepath.Base(file)}, now)
}

// WriteWhole writes a file that is there as a whole or not at all: under another name first, through to the disk, then
// renamed.
func WriteWhole(file, text string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync() // a full disk may show here only
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// MakeWritable makes a folder where it is missing, and checks that files can be made in it. It does nothing for "".
func MakeWritable(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".tokenclock-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
