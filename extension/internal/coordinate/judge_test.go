package coordinate

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// A release judges by its own Node, a clone by the Node of the PATH, and where there is neither the error says what to do.
func TestMergeInReleaseAndClone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an executable file is one by its name there")
	}
	file := func(root, name string) string {
		name = filepath.Join(root, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte("#!/bin/sh\n"), 0o755))
		return name
	}
	t.Setenv("TOKENCLOCK_NODE", "")
	t.Setenv("PATH", t.TempDir())

	release := t.TempDir()
	cli := file(release, "lib/cli.cjs")
	_, err := mergeIn(release)
	require.ErrorContains(t, err, "TOKENCLOCK_NODE")
	node := file(release, "bin/node")
	words, err := mergeIn(release)
	require.NoError(t, err)
	require.Equal(t, []string{node, cli, "merge"}, words)
	own := file(t.TempDir(), "node")
	t.Setenv("TOKENCLOCK_NODE", own)
	words, err = mergeIn(release)
	require.NoError(t, err)
	require.Equal(t, []string{own, cli, "merge"}, words)

	clone := t.TempDir()
	_, err = mergeIn(clone)
	require.ErrorContains(t, err, "bootstrap.cjs is not there")
	bootstrap, merge := file(clone, "build/bootstrap.cjs"), file(clone, "report/cli/merge.ts")
	_, err = mergeIn(clone)
	require.ErrorContains(t, err, "node is not found")
	folder := t.TempDir()
	t.Setenv("PATH", folder)
	words, err = mergeIn(clone)
	require.ErrorContains(t, err, "node is not found")
	require.Nil(t, words)
	node = file(folder, "node")
	words, err = mergeIn(clone)
	require.NoError(t, err)
	require.Equal(t, []string{node, bootstrap, merge}, words)
}
