package heap

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGOGC_ChangesAfterTheFirstCollection(t *testing.T) {
	var did []any
	c := &collector{percent: runPercent, set: func(percent int) { did = append(did, percent) }, collect: func() { did = append(did, "collect") }}
	c.use(vusPercent)
	c.use(streamsPercent)
	require.Empty(t, did, "what a script's start allocates is collected once")
	c.firstCollection()
	require.Equal(t, []any{streamsPercent}, did, "the last word counts")
	c.use(vusPercent)
	require.Equal(t, []any{streamsPercent, vusPercent}, did)
	c.use(vusPercent)
	c.use(runPercent)
	require.Equal(t, []any{streamsPercent, vusPercent, runPercent, "collect"}, did, "a collection that is due at once is over before the load")
}

func TestGOGC_OfTheEnvironmentStays(t *testing.T) {
	t.Setenv("GOGC", "77")
	c := newCollector()
	c.use(streamsPercent)
	require.Nil(t, c.set)
	require.Equal(t, runPercent, c.percent)
}
