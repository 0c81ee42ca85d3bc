package module

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"go.k6.io/k6/v2/lib/fsext"
)

// findFile returns a file's absolute path and the file system that has it, in the init context; a relative path is one from the
// script's folder.
func (i *instance) findFile(path string) (from fsext.Fs, at string, err error) {
	env := i.vu.InitEnv()
	if env == nil {
		return nil, "", fmt.Errorf("%s: files are read in the init context only", path)
	}
	if !filepath.IsAbs(path) {
		path = env.GetAbsFilePath(path)
	}
	return env.FileSystems["file"], path, nil
}

// openData opens a file that may be larger than memory. What is opened through k6's own file system stays in memory for the whole
// run, for the archive that k6 may make of it: a run that makes none opens the file itself.
func (i *instance) openData(path string) (opened, error) {
	from, at, err := i.findFile(path)
	if err != nil {
		return nil, err
	}
	if _, keeps := from.(fsext.CacheLayerGetter); keeps && !parseCommandLine(os.Args[1:]).packs {
		from = fsext.NewOsFs()
		if runtime.GOOS == "windows" {
			from = fsext.NewTrimFilePathSeparatorFs(from) // as k6's own does
		}
	}
	return from.Open(at)
}

// opened is what k6 gives for a file.
type opened interface {
	io.ReadCloser
	io.ReaderAt
	Stat() (fs.FileInfo, error)
}

// fileDigest is `fileDigest(path)`: the file's sha256 in hex, "" for one that cannot be read.
func (i *instance) fileDigest(path string) string {
	f, err := i.openData(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}
