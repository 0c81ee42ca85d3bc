// Command pack writes a folder into an archive, .tar.gz or .zip, whose bytes follow from the names, modes and contents alone:
// entries are sorted, and owner and time are fixed.
package main

import (
	"archive/tar"
	"archive/zip"
	"compress/flate"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	folder := flag.String("folder", "", "folder to pack; its name begins every entry's")
	out := flag.String("out", "", "archive to write")
	epoch := flag.Int64("epoch", 0, "time of every entry, s since 1970")
	level := flag.Int("level", gzip.BestCompression, "of compression, 0 to 9")
	flag.Parse()
	if err := pack(*folder, *out, time.Unix(*epoch, 0).UTC(), *level); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

// An entry is a regular file of the folder.
type entry struct {
	file string // on disk
	name string // in the archive
	mode fs.FileMode
	size int64
}

// entriesOf returns the files of a folder in the order of their names. The error names a file that is no regular one.
func entriesOf(folder string) ([]entry, error) {
	var entries []entry
	base := filepath.Base(folder)
	// WalkDir is in lexical order.
	err := filepath.WalkDir(folder, func(file string, item fs.DirEntry, err error) error {
		if err != nil || item.IsDir() {
			return err
		}
		info, err := item.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no regular file", file)
		}
		relative, err := filepath.Rel(folder, file)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		entries = append(entries, entry{file, path.Join(base, filepath.ToSlash(relative)), mode, info.Size()})
		return nil
	})
	return entries, err
}

func pack(folder, out string, at time.Time, level int) (err error) {
	entries, err := entriesOf(folder)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return fmt.Errorf("%s has no file", folder)
	}
	file, err := os.Create(out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if strings.HasSuffix(out, ".zip") {
		return writeZip(file, entries, at, level)
	}
	return writeTar(file, entries, at, level)
}

func writeTar(to io.Writer, entries []entry, at time.Time, level int) error {
	compressed, err := gzip.NewWriterLevel(to, level)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(compressed)
	for _, each := range entries {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: each.name, Size: each.size, Mode: int64(each.mode), ModTime: at, Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if err := copyFile(archive, each.file); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), compressed.Close())
}

func writeZip(to io.Writer, entries []entry, at time.Time, level int) error {
	archive := zip.NewWriter(to)
	archive.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, level) })
	for _, each := range entries {
		header := &zip.FileHeader{Name: each.name, Method: zip.Deflate, Modified: at}
		header.SetMode(each.mode)
		w, err := archive.CreateHeader(header)
		if err != nil {
			return err
		}
		if err := copyFile(w, each.file); err != nil {
			return err
		}
	}
	return archive.Close()
}

func copyFile(to io.Writer, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(to, file)
	return err
}
