package tokenclock

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/lib"

	"github.com/tokenclock/tokenclock/extension/internal/client"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

func recordOf(t *testing.T, r *stream.Result) (line map[string]any) {
	t.Helper()
	b := appendRequestLine(nil, "s", &lib.State{}, &tally.Observation{SentNs: 100, Result: r}, &client.Measurement{})
	require.NoError(t, json.Unmarshal(b, &line), "%s", b)
	return line
}

func TestTheRecordNamesTheWorstSourceOfItsStamps(t *testing.T) {
	for want, m := range map[any]client.Measurement{
		"ring": {RingReceives: 3, KernelReceives: 3}, "socket": {RingReceives: 3, KernelReceives: 4}, "user": {RingReceives: 3, KernelReceives: 4, UserReceives: 1}, nil: {},
	} {
		var line map[string]any
		require.NoError(t, json.Unmarshal(appendRequestLine(nil, "s", &lib.State{}, &tally.Observation{Result: &stream.Result{}}, &m), &line))
		require.Equal(t, want, line["stamp"])
	}
}

func TestTheRecordHoldsWhatTheFiguresAreMadeOf(t *testing.T) {
	line := recordOf(t, &stream.Result{OutputTokens: 9, ReasoningTokens: 7, HiddenTokens: 7})
	require.Equal(t, []any{9.0, 7.0, 7.0}, []any{line["outputTokens"], line["reasoningTokens"], line["hiddenTokens"]})
	line = recordOf(t, &stream.Result{Arrivals: []stream.Arrival{{AtNs: 150, Tokens: 1}, {AtNs: 170, Tokens: 3, Choice: 2}}})
	require.Equal(t, []any{[]any{50.0, 1.0}, []any{20.0, 3.0, 2.0}}, line["arrivals"])
	line = recordOf(t, &stream.Result{Arrivals: []stream.Arrival{{AtNs: 150, Tokens: 1, WidthNs: 9}, {AtNs: 140, Tokens: 3, Choice: 2, WidthNs: 7}}})
	require.Equal(t, []any{[]any{50.0, 1.0, 0.0, 9.0}, []any{-10.0, 3.0, 2.0, 7.0}}, line["arrivals"], "the width stands behind the choice")
	require.NotContains(t, recordOf(t, &stream.Result{OutputTokens: 9, ReasoningTokens: 7}), "hiddenTokens")
}

func TestJavaScriptSeesAnImpossibleLatencyAsItIs(t *testing.T) {
	o := &tally.Observation{Streamed: true, ScheduledNs: 9e6, SentNs: 7e6, Result: &stream.Result{
		FirstOutputNs: 6e6, LastOutputNs: 8e6, OutputTokens: 1, Arrivals: []stream.Arrival{{AtNs: 6e6, Tokens: 1}},
	}}
	r := toResult(o, o.Figure())
	require.Equal(t, []float64{-2, -1, 1}, []float64{r.QueueDelayMs, r.TTFTMs, r.E2EMs})
	require.Equal(t, []float64{0, 0, 0}, []float64{r.TTFOMs, r.TPOTMs, r.MaxStallMs}, "what it has not")
	o.SentNs = 0
	require.Zero(t, toResult(o, o.Figure()).QueueDelayMs, "of a request that was not sent")
}
