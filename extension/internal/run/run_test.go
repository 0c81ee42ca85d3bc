package run

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/output"

	"github.com/tokenclock/tokenclock/extension/internal/records"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

func TestExitCode_IsTheVerdictsWhereK6KnowsNoBetter(t *testing.T) {
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
		r := New(Spec{Judged: row.judged}, Env{Log: &records.Log{}})
		if row.concluded != nil {
			r.Conclude(*row.concluded)
		}
		require.Equal(t, row.want, r.ExitCode(row.k6), "%+v", row)
	}
}

// part is a load of which this is missing.
type part struct{ missing string }

func (p *part) Unsent() string { return p.missing }

func TestRun_IsCompleteWhenItsLoadWasSentAndWaitedFor(t *testing.T) {
	interrupted := false
	r := New(Spec{}, Env{Log: &records.Log{}, Interrupted: func() bool { return interrupted }})
	how := func() [2]string { a, b := r.Ended(); return [2]string{a, b} }
	require.Equal(t, [2]string{"complete", ""}, how(), "a script without a load shape")

	first, second := &part{"half of it"}, &part{"all of it"}
	r.AddLoad(first)
	r.AddLoad(second)
	r.AddLoad(first)
	require.Len(t, r.loads, 2)
	require.Equal(t, [2]string{"cut", "half of it"}, how())
	first.missing = ""
	require.Equal(t, [2]string{"cut", "all of it"}, how())
	second.missing = ""
	require.Equal(t, [2]string{"complete", ""}, how())

	r.tally.Add(&tally.Observation{Level: "c2", Phase: tally.Steady, Result: &stream.Result{Failure: stream.Interrupted}})
	require.Equal(t, [2]string{"cut", "1 requests were cut off by the end of the run"}, how())
	interrupted = true
	require.Equal(t, "interrupted", how()[0])
}

// What a run writes into its records, from the first line to the verdict.
func TestRun_Lines(t *testing.T) {
	log := &records.Log{}
	out, err := log.NewOutput(output.Params{ConfigArgument: filepath.Join(t.TempDir(), "records.ndjson"), Logger: logrus.New()})
	require.NoError(t, err)
	r := New(Spec{Scenario: "s"}, Env{Log: log})
	r.tally.Level(tally.Spec{Name: "c1", Concurrency: 1})
	require.NoError(t, out.Start())
	r.tally.Open("c1", 1, 0)
	r.tally.Add(&tally.Observation{Level: "c1", Phase: tally.Steady, ScheduledNs: 1, SentNs: 1, Result: &stream.Result{Failure: stream.Reset, EndNs: 5}})
	r.tally.Add(&tally.Observation{Level: "c1", Phase: tally.Steady, ScheduledNs: 1, SentNs: 1, Streamed: true, Result: &stream.Result{
		OutputTokens: 2, Arrivals: []stream.Arrival{{AtNs: 2, Tokens: 1}, {AtNs: 4, Tokens: 1}}, LastOutputNs: 4, EndNs: 4,
	}})
	require.NoError(t, out.Stop())
	b, err := os.ReadFile(out.(*records.Output).Path())
	require.NoError(t, err)
	var lines []map[string]any
	types := []any{}
	for text := range strings.Lines(string(b)) {
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &line), text)
		lines, types = append(lines, line), append(types, line["type"])
	}
	require.Equal(t, []any{"run", "level", "end"}, types, "a level that the run's end cut has its line too")
	require.EqualValues(t, 5, lines[1]["endNs"])
	require.Len(t, lines[1]["itlHistograms"], 1)
	require.Equal(t, r.Report(0).Levels[0].ITLHistograms[tally.Steady], lines[1]["itlHistograms"].(map[string]any)["steady"])
	itl, err := hdrhistogram.Decode([]byte(lines[1]["itlHistograms"].(map[string]any)["steady"].(string)))
	require.NoError(t, err)
	require.EqualValues(t, 2, itl.Max(), "ns")
	require.Equal(t, "VALID", lines[2]["validity"].(map[string]any)["state"])
	require.Equal(t, "complete", lines[2]["ended"])
}
