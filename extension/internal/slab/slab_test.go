package slab

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// numbered fills a slab with texts of many lengths, the third of which is larger than a block.
func numbered(count int) (s *Slab, texts []string) {
	s = &Slab{}
	for k := range count {
		text := strings.Repeat("ü", k%300) + fmt.Sprint(k)
		if k == 2 {
			text = strings.Repeat("long ", blockBytes/4)
		}
		texts = append(texts, text)
		s.Add(text)
	}
	return s, texts
}

func requireTexts(t *testing.T, want []string, s *Slab) {
	t.Helper()
	require.Equal(t, len(want), s.Len())
	for k, text := range want {
		got, err := s.At(k)
		require.NoError(t, err)
		if got != text { // require.Equal on each takes a second
			require.Equal(t, text, got, "text %d", k)
		}
	}
}

func TestSlab_TextsComeBackAsTheyWere(t *testing.T) {
	s, texts := numbered(3*pageTexts + 5)
	requireTexts(t, texts, s)
	for _, k := range []int{-1, len(texts)} {
		_, err := s.At(k)
		require.ErrorContains(t, err, fmt.Sprintf("text %d of %d", k, len(texts)))
	}
}

func TestSlab_KeepOrdersAndLeavesOut(t *testing.T) {
	for sentence, keeps := range map[string]func(k int) bool{
		"most are kept in another order": func(k int) bool { return k != 7 },
		"few are kept":                   func(k int) bool { return k%100 == 3 },
		"none is kept":                   func(int) bool { return false },
	} {
		s, texts := numbered(2 * pageTexts)
		var numbers []uint32
		var want []string
		for k := len(texts) - 1; k >= 0; k-- {
			if keeps(k) {
				numbers = append(numbers, uint32(k))
				want = append(want, texts[k])
			}
		}
		kept, err := s.Keep(numbers)
		require.NoError(t, err, sentence)
		requireTexts(t, want, kept)
		kept.Add("one more")
		requireTexts(t, append(want, "one more"), kept)
	}
	s, texts := numbered(3)
	_, err := s.Keep([]uint32{3})
	require.ErrorContains(t, err, "text 3 of 3")
	requireTexts(t, texts, s)
}

// A place takes 8 bytes, and the last page of them may be empty.
func TestSlab_TakesLittleOfGosHeap(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no memory outside Go's heap")
	}
	const count = 200_000
	text := strings.Repeat("x", 100)
	var before, after runtime.MemStats
	s := &Slab{}
	runtime.ReadMemStats(&before)
	for range count {
		s.Add(text)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(count*10))
	require.Equal(t, count, s.Len())
}
