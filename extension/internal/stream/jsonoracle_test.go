package stream

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const deepest = 4

// drawJSON draws any JSON value as text, with white space and escapes that encoding/json would not write.
func drawJSON(t *rapid.T, depth int) string {
	blank := func() string { return rapid.SampledFrom([]string{"", "", " ", "\n", "\t \r"}).Draw(t, "blank") }
	first, last := 0, 5
	switch depth {
	case 0:
	case deepest: // a document is an object or an array
		first, last = 6, 7
	default:
		last = 7
	}
	switch rapid.IntRange(first, last).Draw(t, "kind") {
	case 0:
		return rapid.SampledFrom([]string{"null", "true", "false"}).Draw(t, "word")
	case 1:
		return rapid.StringMatching(`-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "number")
	case 2, 3:
		return rapid.StringMatching(`"([ !#-\[\]-~é😀]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}){0,20}"`).Draw(t, "string")
	case 4, 5:
		b, err := json.Marshal(rapid.String().Draw(t, "text"))
		require.NoError(t, err)
		return string(b)
	case 6:
		var parts []string
		for range rapid.IntRange(0, 4).Draw(t, "elements") {
			parts = append(parts, blank()+drawJSON(t, depth-1)+blank())
		}
		return "[" + strings.Join(parts, ",") + "]"
	default:
		var parts []string
		for range rapid.IntRange(0, 4).Draw(t, "members") {
			key := rapid.StringMatching(`"([a-z_]|\\u00[0-9a-f]{2}|\\"){0,6}"`).Draw(t, "key")
			parts = append(parts, blank()+key+blank()+":"+blank()+drawJSON(t, depth-1))
		}
		return "{" + strings.Join(parts, ",") + blank() + "}"
	}
}

// read is what encoding/json makes of the next value, made by the scanner's own steps. Numbers and words stay texts.
func (s *scanner) read() any {
	switch s.peek() {
	case '{':
		object := map[string]any{}
		for key := range s.members {
			name := string(key)
			object[name] = s.read()
		}
		return object
	case '[':
		array := []any{}
		for range s.elements {
			array = append(array, s.read())
		}
		return array
	case '"':
		raw, _ := s.text()
		return string(appendUnescaped(nil, raw))
	}
	start := s.i
	s.skip()
	return json.Number(s.b[start:s.i])
}

// wordsAsTexts makes of decoded null, true and false the texts that the scanner leaves them as.
func wordsAsTexts(value any) any {
	switch value := value.(type) {
	case nil:
		return json.Number("null")
	case bool:
		return map[bool]json.Number{true: "true", false: "false"}[value]
	case []any:
		for k := range value {
			value[k] = wordsAsTexts(value[k])
		}
	case map[string]any:
		for key := range value {
			value[key] = wordsAsTexts(value[key])
		}
	}
	return value
}

func TestScanner_AgreesWithEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := drawJSON(t, deepest)
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		var want any
		require.NoError(t, decoder.Decode(&want), text)
		var s scanner
		s.reset([]byte(text))
		require.Equal(t, wordsAsTexts(want), s.read(), text)
		require.True(t, s.end(), text)

		// What a mutation leaves of it is JSON to both or to neither.
		for range 100 {
			at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
			out := rapid.IntRange(0, min(2, len(text)-at)).Draw(t, "out")
			with := rapid.SampledFrom([]string{"", ",", ":", ";", `"`, `\`, "{", "]", "}", "0", "-", ".", "e", "\x00", "\x1f", "\xff", "é", "tru", `\u12`}).Draw(t, "with")
			mutated := text[:at] + with + text[at+out:]
			valid, _ := scansAs(mutated)
			require.Equal(t, json.Valid([]byte(mutated)), valid, "%q", mutated)
		}
	})
}
