package sse

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestPause(t *testing.T) {
	const s = time.Second
	for _, tc := range []struct {
		name string
		r    retry
		n    int
		want time.Duration // without what is added at random
	}{
		{"The first pause is the base.", retry{base: s, limit: 30 * s}, 1, s},
		{"Each is twice the one before.", retry{base: s, limit: 30 * s}, 4, 8 * s},
		{"None is above the limit.", retry{base: s, limit: 30 * s}, 6, 30 * s},
		{"A limit below the base holds too.", retry{base: s, limit: s / 2}, 1, s / 2},
		{"No base, no pause.", retry{limit: s}, 1 << 40, 0},
		{"Many doublings do not overflow.", retry{base: 1, limit: 1<<63 - 1 - 1<<61}, 1 << 40, 1<<63 - 1 - 1<<61},
	} {
		got := tc.r.pause(tc.n)
		assert.GreaterOrEqual(t, got, tc.want, tc.name)
		assert.LessOrEqual(t, got, tc.want+tc.want/5, tc.name)
	}
}
