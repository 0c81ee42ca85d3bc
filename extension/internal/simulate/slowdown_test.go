package simulate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTimesGrowWithTheTimeSinceTheStart(t *testing.T) {
	p := Pacing{SlowDown: 0.01}
	require.EqualValues(t, 1000, p.slowed(1000, 0))
	require.EqualValues(t, 1100, p.slowed(1000, 10e9))
	require.EqualValues(t, 2000, p.slowed(1000, 100e9))
	require.EqualValues(t, 1000, (&Pacing{}).slowed(1000, 100e9))

	// One sequence: a prefill step of 10 + 20 ms, then decode steps of 11 ms, each twice as long.
	s := newScheduler(testEngine())
	s.slowed = func(ns, _ int64) int64 { return 2 * ns }
	require.Equal(t, []int64{65, 87, 109, 131}, times(play(t, s, []*sequence{seq(5, 20, 4)}, 0), 0))
}

func TestSlowDown_RandomTimeGrowsInMeanAndSpread(t *testing.T) {
	for text, twice := range map[string]string{
		"50ms": "100ms", "uniform:40ms,60ms": "uniform:80ms,120ms", "normal:50ms,5ms": "normal:100ms,10ms",
		"exponential:50ms": "exponential:100ms", "lognormal:50ms,0.5": "lognormal:100ms,0.5",
	} {
		of, err := ParseDistribution(text)
		require.NoError(t, err)
		wanted, err := ParseDistribution(twice)
		require.NoError(t, err)
		require.Equal(t, wanted, of.times(2), text)
	}
}

func TestSlowDown_MustNotBeNegative(t *testing.T) {
	c := DefaultConfig()
	c.Pacing.SlowDown = -0.1
	_, err := Start(c)
	require.ErrorContains(t, err, "slow-down -0.1")
}

// Each stream of a scheduled server is as slow as the server's age says when the stream begins.
func TestSlowDown_OfAScheduledServer(t *testing.T) {
	s := start(t, func(c *Config) {
		c.Pacing.Scheduled, c.Pacing.SlowDown = true, 50
		c.Pacing.TTFT, c.Pacing.ITL = Fixed(4*time.Millisecond), Fixed(2*time.Millisecond)
	})
	for range 2 {
		ask(t, s, "POST", pathCompletions, `{"prompt":"a","max_tokens":5,"ignore_eos":true,"stream":true}`)
	}
	for _, r := range s.Truth().Requests {
		factor := 1 + 50*float64(r.BeginNs-s.pace.(*schedule).beganNs)/1e9
		require.Greater(t, factor, 1.0)
		for k, send := range r.SendsNs {
			require.GreaterOrEqual(t, send[0], r.BeginNs+int64(factor*float64(4+2*k)*1e6)-10, "token %d", k)
		}
	}
}
