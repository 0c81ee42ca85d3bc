package module

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

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
