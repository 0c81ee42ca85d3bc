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

func TestTheRecordHoldsWhatTheFiguresAreMadeOf(t *testing.T) {
	line := recordOf(t, &stream.Result{OutputTokens: 9, ReasoningTokens: 7, HiddenTokens: 7})
	require.Equal(t, []any{9.0, 7.0, 7.0}, []any{line["outputTokens"], line["reasoningTokens"], line["hiddenTokens"]})
	require.NotContains(t, recordOf(t, &stream.Result{OutputTokens: 9, ReasoningTokens: 7}), "hiddenTokens")
}
