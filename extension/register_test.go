package tokenclock

import (
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/errext"
	"go.k6.io/k6/v2/ext"
)

func TestCommand(t *testing.T) {
	for _, row := range []struct {
		why  string
		args []string
		err  string
	}{
		{"the command alone prints its help", nil, ""},
		{"a misspelt command is refused by name", []string{"simulat"}, `"simulat"`},
	} {
		t.Run(row.why, func(t *testing.T) {
			c := newCommand(nil)
			c.SetArgs(row.args)
			c.SetOut(io.Discard)
			c.SetErr(io.Discard)
			err := c.Execute()
			if row.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, row.err)
		})
	}
}

func TestRoot_RegistersItsOwnNamesOnly(t *testing.T) {
	assert.Contains(t, ext.Get(ext.JSExtension), "k6/x/tokenclock")
	assert.Contains(t, ext.Get(ext.OutputExtension), "records")
	assert.Contains(t, ext.Get(ext.SubcommandExtension), "tokenclock")
	assert.NotContains(t, ext.Get(ext.JSExtension), "k6/x/sse", "a binary with xk6-sse would panic")
}

func TestCommands_WhatIsAskedWronglyEndsWith104(t *testing.T) {
	for _, args := range [][]string{
		{"cordinate"},
		{"simulate", "--bogus"},
		{"simulate", "--port", "eight"},
		{"simulate", "extra"},
		{"calibrate", "--bogus"},
		{"calibrate", "extra"},
		{"coordinate", "--runners", "two"},
		{"coordinate", "--runners", "2", "extra"},
		{"ready", "--bogus"},
		{"ready", "extra"},
	} {
		c := newCommand(nil)
		c.SetArgs(args)
		c.SetOut(io.Discard)
		c.SetErr(io.Discard)
		err := c.Execute()
		var coded errext.HasExitCode
		require.True(t, errors.As(err, &coded), "%v: %v", args, err)
		require.EqualValues(t, 104, coded.ExitCode(), args)
	}
	c := newCommand(nil)
	c.SetArgs([]string{"coordinate", "--help"})
	c.SetOut(io.Discard)
	require.NoError(t, c.Execute())
}
