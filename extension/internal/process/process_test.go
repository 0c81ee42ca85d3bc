package process

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/errext"
	"go.k6.io/k6/v2/errext/exitcodes"
)

func TestK6sExitCodeIsInItsEvent(t *testing.T) {
	type exitData struct{ Error error }
	require.Equal(t, 0, exitCodeIn(&exitData{}))
	crossed := errext.WithExitCodeIfNone(errors.New("crossed"), exitcodes.ThresholdsHaveFailed)
	require.Equal(t, 99, exitCodeIn(&exitData{crossed}))
	require.Equal(t, -1, exitCodeIn(&exitData{errors.New("some other")}))
	require.Equal(t, -1, exitCodeIn(nil))
	require.Equal(t, -1, exitCodeIn(struct{ Other int }{}))
}

func TestProcess_OutlivingItsParentIsInterrupted(t *testing.T) {
	endWithParent("", func() int { t.Fatal("no parent is named"); return 0 })
	// A shell between, whose own parent lives: nothing to watch.
	endWithParent("1", func() int { return 2 })
}
