package stream

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func scansAs(text string) (valid, short bool) {
	var s scanner
	s.reset([]byte(text))
	s.skip()
	return s.end(), s.short
}

func TestScannerTellsJSON(t *testing.T) {
	for _, text := range []string{
		`{}`, `[]`, `""`, `0`, `-0`, `1.5e-7`, `1E+2`, `true`, `false`, `null`, ` { "a" : [ 1 , { } , "b" ] } `, `"\u12aF\n\\\/"`,
		`"long enough to be read eight bytes at a time: é \" end"`, "\"\x7f\"", "[\"\xff\"]",
		``, ` `, `{`, `[1`, `[1,]`, `{"a":1,}`, `{"a"}`, `{a:1}`, `{1:1}`, `{"a":1 "b":2}`, `[1 2]`, `01`, `1.`, `.5`, `-`, `+1`, `1e`, `1e+`,
		`tru`, `nul`, `True`, `NaN`, `"`, `"a`, `"\`, `"\x"`, `"\u12g4"`, `"\u12"`, "\"a\nb\"", "\"abcdefgh\x1fi\"", `{}x`, `{} {}`, `[}`, `{]`, `"a"b`,
		"\x00", "{}\x00", `{"a":}`, `{,}`, `[,]`, `1 2`, `--1`, `0x10`, `"\u"`,
	} {
		valid, _ := scansAs(text)
		require.Equal(t, json.Valid([]byte(text)), valid, "%q", text)
	}
}

func TestScannerTellsWhatIsCutOff(t *testing.T) {
	const text = `{"a": [1, -2.5e3, true, null, "x\u00e9\n"], "b": {"c": ""}}`
	for i := range len(text) {
		valid, short := scansAs(text[:i])
		require.False(t, valid, text[:i])
		require.True(t, short, text[:i])
	}
	for _, text := range []string{`{"a" 1}`, `{]`, `nix`, "\"\x01\"", `{"a":01}`} {
		_, short := scansAs(text)
		require.False(t, short, text)
	}
}

func TestScannerBoundsDepth(t *testing.T) {
	valid, _ := scansAs(strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth))
	require.True(t, valid)
	valid, _ = scansAs(strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1))
	require.False(t, valid)
	valid, _ = scansAs(strings.Repeat(`{"a":`, 1e6))
	require.False(t, valid)
}

// Any string that encoding/json writes is read back, whatever stands around the eight bytes that are looked at at once.
func TestStringsAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.String().Draw(t, "text")
		quoted, err := json.Marshal(want)
		require.NoError(t, err)
		before := rapid.IntRange(0, 9).Draw(t, "before")
		var s scanner
		s.reset([]byte(strings.Repeat(" ", before) + string(quoted) + rapid.StringN(0, 9, -1).Draw(t, "after")))
		raw, ok := s.text()
		require.True(t, ok)
		require.Equal(t, want, string(appendUnescaped(nil, raw)))
		require.Equal(t, before+len(quoted), s.i)
	})
}

func TestUnescaping(t *testing.T) {
	for _, raw := range []string{
		``, `plain`, `\"\\\/\b\f\n\r\t`, `\u00e9\u20AC`, `\ud83d\ude00`, `\ud83d`, `\ude00`, `\ud83dx`, `\ud83d\n`, `\ud83d\u0041`, `\ud83d\ud83d\ude00`,
		`\u0000`, `é😀`, `\uD83D\uDE00\uD83D`,
	} {
		var want string
		require.NoError(t, json.Unmarshal([]byte(`"`+raw+`"`), &want))
		require.Equal(t, want, string(appendUnescaped(nil, []byte(raw))), raw)
	}
}

func TestCounts(t *testing.T) {
	for _, tt := range []struct {
		text string
		n    int
		ok   bool
	}{
		{`12`, 12, true}, {`"12"`, 12, true}, {`0`, 0, true}, {`12.0`, 12, true}, {`1.2e1`, 12, true}, {`12.9`, 12, true},
		{`-1`, 0, false}, {`null`, 0, false}, {`"x"`, 0, false}, {`""`, 0, false}, {`[1]`, 0, false}, {`true`, 0, false}, {`1e300`, 0, false},
		{`9007199254740992`, 1 << 53, true}, {`99999999999999999999`, 0, false}, {`"1 "`, 0, false},
	} {
		var s scanner
		s.reset([]byte(tt.text))
		n, ok := s.wholeNumber()
		require.Equal(t, tt.ok, ok, tt.text)
		require.Equal(t, tt.n, n, tt.text)
		require.True(t, s.end(), tt.text)
	}
}

func FuzzJSON(f *testing.F) {
	f.Add(`{"choices":[{"index":0,"delta":{"content":"\u00e9\n"},"finish_reason":null}],"usage":{"completion_tokens":1.5e1}}`)
	f.Add(`[0, -1, "\ud83d\ude00", [], {"a": tru]`)
	f.Fuzz(func(t *testing.T, text string) {
		valid, _ := scansAs(text)
		if strings.Count(text, "[")+strings.Count(text, "{") < maxDepth {
			require.Equal(t, json.Valid([]byte(text)), valid)
		}
		for _, api := range []API{Chat, Embeddings, Responses, Messages} {
			for _, streamed := range []bool{true, false} {
				var s scanner
				var facts facts
				s.reset([]byte(text))
				require.Equal(t, valid, s.scan(api, streamed, &facts), api)
			}
		}
	})
}
