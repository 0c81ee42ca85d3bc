package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// keyBytes is the most that a file or a command may hold: tokens with many claims have some kilobytes.
const keyBytes = 64 << 10

// file is a key in a file that somebody else rewrites, as Kubernetes does with projected tokens.
type file struct {
	path  string
	parse func(text, from string) (key, error)

	mu   sync.Mutex
	read os.FileInfo
}

func (f *file) get(context.Context) (key, error) {
	text, info, err := readSecret(f.path, "API_KEY_FILE")
	if err != nil {
		return key{}, err
	}
	got, err := f.parse(text, "the file of API_KEY_FILE")
	if err != nil {
		return key{}, err
	}
	f.mu.Lock()
	f.read = info
	f.mu.Unlock()
	return got, nil
}

// changed reports whether the file was written anew: its time, its size or the file itself differs.
func (f *file) changed() bool {
	now, err := os.Stat(f.path)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil || f.read == nil {
		return false // it may be in the middle of being replaced
	}
	return !os.SameFile(now, f.read) || !now.ModTime().Equal(f.read.ModTime()) || now.Size() != f.read.Size()
}

func (f *file) secrets() []string { return nil }

// readSecret reads a small file; setting is what named it.
func readSecret(path, setting string) (string, os.FileInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", nil, fmt.Errorf("%s=%s cannot be read: %w", setting, path, Reason(err))
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		return "", nil, fmt.Errorf("%s=%s is a folder; it must be a file", setting, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, keyBytes+1))
	if err != nil {
		return "", nil, fmt.Errorf("%s=%s cannot be read: %w", setting, path, Reason(err))
	}
	if len(b) > keyBytes {
		return "", nil, fmt.Errorf("%s=%s is larger than %d bytes: it is not the file of a key", setting, path, keyBytes)
	}
	return string(b), info, nil
}

// Reason returns what an error of a file says beside its path.
func Reason(err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}
