package records

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/client"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

func recordOf(t *testing.T, r *stream.Result) (line map[string]any) {
	t.Helper()
	b := AppendRequest(nil, "s", 7, 3, &tally.Observation{SentNs: 100, Result: r}, &client.Measurement{})
	require.NoError(t, json.Unmarshal(b, &line), "%s", b)
	return line
}

func TestLines_NameTheWorstSourceOfStamps(t *testing.T) {
	for want, m := range map[any]client.Measurement{
		"ring": {RingReceives: 3, KernelReceives: 3}, "socket": {RingReceives: 3, KernelReceives: 4}, "user": {RingReceives: 3, KernelReceives: 4, UserReceives: 1}, nil: {},
	} {
		var line map[string]any
		require.NoError(t, json.Unmarshal(AppendRequest(nil, "s", 7, 3, &tally.Observation{Result: &stream.Result{}}, &m), &line))
		require.Equal(t, want, line["stamp"])
	}
}

func TestLines_HoldWhatMetricsAreComputedFrom(t *testing.T) {
	line := recordOf(t, &stream.Result{OutputTokens: 9, ReasoningTokens: 7, HiddenTokens: 7})
	require.Equal(t, []any{9.0, 7.0, 7.0}, []any{line["outputTokens"], line["reasoningTokens"], line["hiddenTokens"]})
	line = recordOf(t, &stream.Result{Arrivals: []stream.Arrival{{AtNs: 150, Tokens: 1}, {AtNs: 170, Tokens: 3, Choice: 2}}})
	require.Equal(t, []any{[]any{50.0, 1.0}, []any{20.0, 3.0, 2.0}}, line["arrivals"])
	line = recordOf(t, &stream.Result{Arrivals: []stream.Arrival{{AtNs: 150, Tokens: 1, WidthNs: 9}, {AtNs: 140, Tokens: 3, Choice: 2, WidthNs: 7}}})
	require.Equal(t, []any{[]any{50.0, 1.0, 0.0, 9.0}, []any{-10.0, 3.0, 2.0, 7.0}}, line["arrivals"], "the width stands behind the choice")
	require.NotContains(t, recordOf(t, &stream.Result{OutputTokens: 9, ReasoningTokens: 7}), "hiddenTokens")
}
