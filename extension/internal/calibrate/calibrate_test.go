package calibrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/simulate"
	"github.com/tokenclock/tokenclock/extension/internal/tally"
)

// simulatorChild makes the test binary behave as `k6 x tokenclock simulate`.
const simulatorChild = "TOKENCLOCK_TEST_SIMULATOR"

func init() {
	if os.Getenv(simulatorChild) == "" {
		return
	}
	cmd := simulate.NewCommand()
	cmd.SetArgs(os.Args[1:])
	cmd.SetOut(os.Stdout)
	if cmd.Execute() != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

func TestTrial_CountsWhatTheServerSent(t *testing.T) {
	t.Setenv(simulatorChild, "1")
	executable, err := os.Executable()
	require.NoError(t, err)
	l := load{Streams: 5, TTFT: 10 * time.Millisecond, ITL: 5 * time.Millisecond, Duration: time.Second}
	got, err := runTrial(t.Context(), []string{executable}, l)
	require.NoError(t, err)
	requests := int64(5 * l.rounds())
	require.Equal(t, requests, got.Requests)
	require.Zero(t, got.Failed)
	require.Equal(t, requests*int64(l.tokens()), got.Tokens)
	require.Equal(t, requests, got.TTFTMs.Count)
	require.Equal(t, requests, got.TrueTTFTMs.Count)
	require.Equal(t, got.TrueITLMs.Count, got.MeasuredITLMs.Count)
	// A stream cannot be faster than its schedule, however busy the machine is.
	require.Greater(t, got.TrueTTFTMs.Min, 7.9)
	require.Greater(t, got.TTFTMs.Min, 7.0)
	require.InDelta(t, 5, got.TrueITLMs.Mean, 5)
	require.Greater(t, got.LoadShare, 0.0)
	require.Less(t, got.LoadShare, 1.1)
}

func TestServer_FailureToStartIsAnError(t *testing.T) {
	l := load{Streams: 1, ITL: time.Millisecond, Duration: time.Second}
	_, err := runTrial(t.Context(), []string{"/there/is/no/such/server"}, l)
	require.ErrorContains(t, err, "could not be started")

	t.Setenv(simulatorChild, "1")
	executable, err := os.Executable()
	require.NoError(t, err)
	_, err = runTrial(t.Context(), []string{executable, "--no-such-flag"}, l)
	require.ErrorContains(t, err, "ended before it listened")
}

func TestLoad_IsWholeRequests(t *testing.T) {
	for _, tt := range []struct {
		sentence       string
		load           load
		tokens, rounds int
	}{
		{"requests of some two seconds", load{1, 50 * time.Millisecond, 10 * time.Millisecond, 10 * time.Second}, 196, 5},
		{"none longer than the trial", load{1, 0, 10 * time.Millisecond, time.Second}, 101, 1},
		{"a slow stream has two tokens all the same", load{1, 0, 5 * time.Second, time.Second}, 2, 1},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			require.Equal(t, tt.tokens, tt.load.tokens())
			require.Equal(t, tt.rounds, tt.load.rounds())
		})
	}
}

func TestJudge(t *testing.T) {
	sound := func() trial {
		return trial{
			Streams: 300, ITLMs: 10, Requests: 100, LoadShare: 0.995,
			TTFTMs: tally.Stats{Mean: 50.5}, TrueTTFTMs: tally.Stats{Mean: 50},
			MeasuredITLMs: tally.Stats{P99: 10.5}, TrueITLMs: tally.Stats{P99: 10},
		}
	}
	for _, tt := range []struct {
		sentence string
		change   func(*trial)
		want     string
	}{
		{"small errors are true", func(*trial) {}, ""},
		{"a failed request is not", func(x *trial) { x.Failed = 1 }, "1 of 100 requests failed"},
		{"a load that was not delivered is not", func(x *trial) { x.LoadShare = 0.98 }, "98.0 % of the load"},
		{"a TTFT that is too low is not", func(x *trial) { x.TTFTMs.Mean = 48.9 }, "TTFT mean is -1.10 ms off"},
		{"an ITL that is too high is not", func(x *trial) { x.MeasuredITLMs.P99 = 10.8 }, "ITL p99 is +8.0 % off"},
		{"no ITL at all is not", func(x *trial) { x.MeasuredITLMs.P99, x.TrueITLMs.P99 = 0, 0 }, "ITL p99"},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			x := sound()
			tt.change(&x)
			x.judge()
			if tt.want == "" {
				require.Empty(t, x.Reasons)
				return
			}
			require.Contains(t, strings.Join(x.Reasons, "; "), tt.want)
		})
	}
}

func TestSearch_FindsTheLargestTrueLoad(t *testing.T) {
	for _, tt := range []struct {
		sentence           string
		begin, most, limit int
		least, atMost      int
	}{
		{"above the begin", 100, 5000, 730, 634, 730},
		{"below the begin", 300, 5000, 40, 34, 40},
		{"beyond what is allowed", 300, 1000, 9999, 1000, 1000},
		{"nowhere", 8, 1000, 0, 0, 0},
		{"a begin above what is allowed", 5000, 1000, 9999, 1000, 1000},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			failedOnce := map[int]bool{}
			c, err := searchLargest(load{Streams: tt.begin}, tt.most, func(l load) (trial, error) {
				require.LessOrEqual(t, l.Streams, tt.most)
				x := trial{Streams: l.Streams}
				if l.Streams > tt.limit || !failedOnce[l.Streams] { // each load fails once for no reason of its own
					failedOnce[l.Streams] = true
					x.Reasons = []string{"no"}
				}
				return x, nil
			})
			require.NoError(t, err)
			require.NotNil(t, c.LargestTrue)
			require.GreaterOrEqual(t, *c.LargestTrue, tt.least)
			require.LessOrEqual(t, *c.LargestTrue, tt.atMost)
			require.Less(t, len(c.Trials), 40)
		})
	}
	broken := errors.New("broken")
	_, err := searchLargest(load{Streams: 1}, 10, func(load) (trial, error) { return trial{}, broken })
	require.ErrorIs(t, err, broken)
}

func TestCalibrationPrintsAndRefuses(t *testing.T) {
	x := trial{Streams: 3, ITLMs: 10, LoadShare: 1, TTFTMs: tally.Stats{Mean: 50.25}, TrueTTFTMs: tally.Stats{Mean: 50}}
	x.MeasuredITLMs.P99, x.TrueITLMs.P99 = 11, 10
	x.judge()
	out := &bytes.Buffer{}
	require.NoError(t, (&calibration{Trials: []trial{x}}).print(out))
	require.Contains(t, out.String(), "+0.250 ms")
	require.Contains(t, out.String(), "NOT TRUE: the ITL p99 is +10.0 % off")
	out.Reset()
	none := 0
	require.NoError(t, (&calibration{Trials: []trial{x}, LargestTrue: &none}).print(out))
	require.Contains(t, out.String(), "measures truly: 0 streams x 100 tokens/s")
	b, err := json.Marshal(calibration{Trials: []trial{x}})
	require.NoError(t, err)
	require.NotContains(t, string(b), "largestTrue")

	cmd := NewCommand()
	cmd.SetArgs([]string{"--streams", "0"})
	cmd.SilenceErrors = true
	require.ErrorContains(t, cmd.Execute(), "--streams")
}
