package module

import (
	"crypto/sha256"
	"fmt"
	"io"
	"path/filepath"
)

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
