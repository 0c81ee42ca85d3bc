package simulate

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDistributions(t *testing.T) {
	for _, row := range []struct {
		text            string
		mean, tolerance float64 // ms
		low, high       float64
	}{
		{"50ms", 50, 0, 50, 50},
		{"0", 0, 0, 0, 0},
		{"fixed:1.5ms", 1.5, 0, 1.5, 1.5},
		{"uniform:40ms,60ms", 50, 0.5, 40, 60},
		{"normal:50ms,5ms", 50, 0.5, 0, 100},
		{"normal:1ms,10ms", 4.5, 0.5, 0, 100}, // cut off at 0
		{"exponential:10ms", 10, 0.5, 0, 1000},
		{"lognormal:10ms,0.5", 11.33, 0.5, 0, 1000}, // median * exp(sigma^2/2)
	} {
		d, err := ParseDistribution(row.text)
		require.NoError(t, err, row.text)
		rng := rand.New(rand.NewPCG(7, 7))
		sum := 0.0
		const draws = 20_000
		for range draws {
			ms := float64(d.drawNs(rng)) / 1e6
			require.GreaterOrEqual(t, ms, row.low, row.text)
			require.LessOrEqual(t, ms, row.high, row.text)
			sum += ms
		}
		require.InDelta(t, row.mean, sum/draws, row.tolerance+1e-9, row.text)
	}
	for _, text := range []string{"", "fast", "-1ms", "uniform:1ms", "uniform:2ms,1ms", "normal:1ms,x", "lognormal:1ms,-1", "gamma:1ms", "1ms,2ms"} {
		_, err := ParseDistribution(text)
		require.Error(t, err, text)
	}
	require.True(t, Distribution{}.zero())
	require.False(t, Fixed(time.Millisecond).zero())
}
