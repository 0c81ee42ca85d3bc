package tokenclock

import (
	"crypto/sha256"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/grafana/sobek"
)

// lines is a text file, read once for all VUs of the process.
type lines struct {
	all []string
}

type linesOf struct {
	l      *lines
	Length int `js:"length"`
}

// newLines is `new Lines(path)`, for the init context; a relative path is one from the working directory. Empty lines
// are left out.
func (i *instance) newLines(call sobek.ConstructorCall) *sobek.Object {
	rt := i.vu.Runtime()
	path := call.Argument(0).String()
	l, err := shared(i.root, "lines", path, func() (*lines, error) {
		b, err := i.readFile(path)
		if err != nil {
			return nil, err
		}
		return splitLines(string(b)), nil
	})
	if err != nil {
		i.throw(fmt.Errorf("new Lines: %w", err))
	}
	return rt.ToValue(&linesOf{l: l, Length: len(l.all)}).ToObject(rt)
}

// readFile reads a file in the init context; a relative path is one from the script's folder.
func (i *instance) readFile(path string) ([]byte, error) {
	env := i.vu.InitEnv()
	if env == nil {
		return nil, fmt.Errorf("%s: files are read in the init context only", path)
	}
	at := path
	if !filepath.IsAbs(at) {
		at = env.GetAbsFilePath(path)
	}
	f, err := env.FileSystems["file"].Open(at)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// fileDigest is `fileDigest(path)`: the file's sha256 in hex, "" for one that cannot be read.
func (i *instance) fileDigest(path string) string {
	b, err := i.readFile(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

func splitLines(text string) *lines {
	l := &lines{}
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) != "" {
			l.all = append(l.all, line)
		}
	}
	return l
}

// Get is `lines.get(i)`.
func (h *linesOf) Get(k int) (string, error) {
	if k < 0 || k >= len(h.l.all) {
		return "", fmt.Errorf("line %d of %d", k, len(h.l.all))
	}
	return h.l.all[k], nil
}
