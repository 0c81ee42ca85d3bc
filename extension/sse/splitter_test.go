package sse

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// split returns what a stream comes to, cut into receives at the given offsets.
func split(text string, cuts []int) (seen []string) {
	var s splitter
	event := func(ev stream.Event) { seen = append(seen, fmt.Sprintf("%+v", *newEvent(ev))) }
	unknown := func(line string) { seen = append(seen, "unknown "+line) }
	from := 0
	for _, to := range append(cuts, len(text)) {
		if to > from {
			s.feed([]byte(text[from:to]), 1, event, unknown)
			from = to
		}
	}
	s.end(1, event)
	return seen
}

// What is delivered does not depend on how the stream was cut into receives, and is never a crash.
func TestSplitterIsIndependentOfReceives(t *testing.T) {
	line := rapid.OneOf(
		rapid.SampledFrom([]string{"", "", "data: x", "data:", "data", "id: 1", "event: e", "retry: 5", ": c", ":", "junk", "dat: x", "datax", "eventual: y",
			"{\"error\": 1}", "\xef\xbb\xbfdata: b", "\x00\xff"}),
		rapid.StringN(0, 20, 40),
	)
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		for _, l := range rapid.SliceOfN(line, 0, 12).Draw(t, "lines") {
			text.WriteString(l)
			text.WriteString(rapid.SampledFrom([]string{"\n", "\n", "\r\n"}).Draw(t, "break"))
		}
		text.WriteString(rapid.SampledFrom([]string{"", "data: end", "junk"}).Draw(t, "rest"))
		var cuts []int
		for i := range text.Len() {
			if rapid.Bool().Draw(t, "cut") {
				cuts = append(cuts, i)
			}
		}
		whole, parts := split(text.String(), nil), split(text.String(), cuts)
		if strings.Join(whole, "\n") != strings.Join(parts, "\n") {
			t.Fatalf("whole %q, in parts %q", whole, parts)
		}
	})
}

func TestUnknownLinesAreCut(t *testing.T) {
	seen := split(strings.Repeat("x", 1<<20)+"\n", []int{3, 17, 1 << 19})
	if len(seen) != 1 || len(seen[0]) != len("unknown ")+keptLine {
		t.Fatalf("%d lines, the first of %d bytes", len(seen), len(seen[0]))
	}
}
