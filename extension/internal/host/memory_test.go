package host

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestResidentMemoryGrowsWithWhatIsUsed(t *testing.T) {
	before := ResidentBytes()
	require.Positive(t, before)
	kept := make([]byte, 64<<20)
	for k := 0; k < len(kept); k += 4096 {
		kept[k] = 1
	}
	require.Greater(t, ResidentBytes()-before, int64(32<<20))
	require.EqualValues(t, 1, kept[0])
}
