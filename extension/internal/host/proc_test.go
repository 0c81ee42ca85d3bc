package host

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseSteal(t *testing.T) {
	ns, processors, err := parseSteal([]byte("cpu  10757 3 3865 125545 218 0 46 15 9 8\ncpu0 1 2 3 4 5 6 7 8 9 10\ncpu1 1\nintr 99\ncpu2 1\n"))
	require.NoError(t, err)
	require.Equal(t, 2, processors)
	require.Equal(t, int64(150_000_000), ns, "15 ticks of 10 ms, of all processors")
	for _, text := range []string{"", "cpu  1 2 3\n", "cpu0 1 2 3 4 5 6 7 8\n", "cpu 1 2 3 4 5 6 7 x\n", "cpu 1 2 3 4 5 6 7 -8\n"} {
		_, _, err := parseSteal([]byte(text))
		require.Error(t, err, text)
	}
}

func TestParseWaited(t *testing.T) {
	ns, err := parseWaited([]byte("1234567 89012 34\n"))
	require.NoError(t, err)
	require.Equal(t, int64(89012), ns)
	for _, text := range []string{"", "1 2", "1 x 3", "1 -2 3"} {
		_, err := parseWaited([]byte(text))
		require.Error(t, err, text)
	}
}
