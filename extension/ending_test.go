package tokenclock

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/errext"
	"go.k6.io/k6/v2/errext/exitcodes"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
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

func TestTheExitCodeIsThatOfTheVerdictWhereK6KnowsNoBetter(t *testing.T) {
	code := func(c int) *int { return &c }
	for _, row := range []struct {
		k6        int
		judged    bool
		concluded *int
		want      int
		why       string
	}{
		{0, true, code(0), 0, "passed"},
		{99, true, code(99), 99, "failed"},
		{99, true, code(98), 98, "a run that is not valid has not failed"},
		{99, true, code(96), 96, "too few samples"},
		{0, true, code(98), 98, "cut, with every threshold kept"},
		{99, true, code(0), 99, "k6 knows of a threshold that the verdict does not"},
		{0, true, nil, 98, "nobody judged it"},
		{99, true, nil, 98, "nobody judged it"},
		{105, true, code(98), 105, "k6's own codes stand"},
		{107, true, nil, 107, "k6's own codes stand"},
		{-1, true, code(0), -1, "an error without a code"},
		{0, false, nil, 0, "a script that uses the module alone"},
	} {
		root := &rootModule{}
		r := root.declare(runSpec{Judged: row.judged}, nil)
		r.concluded.Store(row.concluded)
		require.Equal(t, row.want, root.exitCode(row.k6), "%+v", row)
	}
	require.Equal(t, 0, (&rootModule{}).exitCode(0), "nothing was declared")
}

func TestARunIsCompleteWhenAllOfItsLoadWasSentAndWaitedFor(t *testing.T) {
	newRun := func() *run { return (&rootModule{}).declare(runSpec{}, nil) }
	how := func(r *run) [2]string { a, b := r.ended(); return [2]string{a, b} }
	r := newRun()
	require.Equal(t, [2]string{"complete", ""}, how(r), "a script without a load shape")

	l, err := newLevels([]levelSpec{{Name: "c1", Concurrency: 1, Requests: 3}, {Name: "c2", Concurrency: 2, DurationMs: 5}})
	require.NoError(t, err)
	l.bind(r)
	l.bind(r)
	l.state.steady = 2
	require.Equal(t, [2]string{"cut", "level c1 began 2 of 3 requests"}, how(r))
	l.at = 1
	require.Equal(t, [2]string{"cut", "level c2 was not over"}, how(r))
	l.at = 2
	require.Equal(t, [2]string{"complete", ""}, how(r))

	r.tally.Add(&tally.Observation{Level: "c2", Phase: tally.Steady, Result: &stream.Result{Failure: stream.Interrupted}})
	require.Equal(t, [2]string{"cut", "1 requests were cut off by the end of the run"}, how(r))
	r.root.interrupted.Store(true)
	require.Equal(t, "interrupted", how(r)[0])

	r = newRun()
	a, err := newArrivals(arrivalSpec{TraceMs: []float64{0, 5}})
	require.NoError(t, err)
	r.addShape(a)
	a.given.Store(1)
	require.Equal(t, [2]string{"cut", "1 of the schedule's 2 requests were sent"}, how(r))
	a.given.Store(2)
	require.Equal(t, "complete", how(r)[0])

	v := newScriptVU(t, `w = new tc.Windows("w", [{name: "b1"}, {name: "b2"}])`)
	r = v.root.current()
	require.Equal(t, [2]string{"cut", "level b1 was not over"}, how(r))
	v.run(`w.begin("b1"); w.end("b1")`)
	require.Equal(t, [2]string{"cut", "level b2 was not over"}, how(r))
	v.run(`w.begin("b2"); w.end("b2")`)
	require.Equal(t, "complete", how(r)[0])
}

func TestAProcessThatOutlivesItsParentIsInterrupted(t *testing.T) {
	endWithParent("", func() int { t.Fatal("no parent is named"); return 0 })
	// A shell between, whose own parent lives: nothing to watch.
	endWithParent("1", func() int { return 2 })
}
