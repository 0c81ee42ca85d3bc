package parquet

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func linesOf(t *testing.T, b []byte) (lines []string, err error) {
	t.Helper()
	err = Rows(bytes.NewReader(b), int64(len(b)), func(line string, number int) (bool, error) {
		lines = append(lines, line)
		assert.Len(t, lines, number)
		return true, nil
	})
	return lines, err
}

func file(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	return b
}

func TestRows(t *testing.T) {
	t.Run("lists, structures, nulls, dictionaries, times, several row groups", func(t *testing.T) {
		lines, err := linesOf(t, file(t, "nested.parquet"))
		require.NoError(t, err)
		assert.Equal(t, []string{
			`{"messages":[{"role":"user","content":"Name three uses for a wheel."},{"role":"assistant","content":"A clock, a chair, a lamp."}],` +
				`"prompt":"one","output_tokens":5,"temperature":0.5,"flag":true,"at":"2026-01-02T03:04:05.678Z","hash_ids":[1,2,3],` +
				`"tags":[["a"],["b","c"]],"meta":{"source":"x","turns":2},"kind":"chat"}`,
			`{"messages":[],"prompt":"zwei ü","temperature":1,"flag":false,"hash_ids":[],"tags":[[]],"meta":{"turns":1},"kind":"code"}`,
			`{"prompt":"\"quoted\"\nline","output_tokens":7,"at":"1999-12-31T23:59:59Z","kind":"chat"}`,
			`{"messages":[{"role":"user"},null],"output_tokens":9,"temperature":1e-7,"flag":true,"at":"2026-01-02T00:00:00Z",` +
				`"hash_ids":[9007199254740993,null],"tags":[null],"meta":{"source":"y"},"kind":"code"}`,
		}, lines)
	})
	t.Run("pages of version 2, packed by snappy", func(t *testing.T) {
		lines, err := linesOf(t, file(t, "snappy.parquet"))
		require.NoError(t, err)
		assert.Len(t, lines, 4)
		assert.Equal(t, `{"prompt":"one","output_tokens":5}`, lines[0])
		assert.Equal(t, `{"output_tokens":9}`, lines[3])
	})
	t.Run("ends where the reader has enough", func(t *testing.T) {
		b, n := file(t, "nested.parquet"), 0
		require.NoError(t, Rows(bytes.NewReader(b), int64(len(b)), func(string, int) (bool, error) {
			n++
			return n < 3, nil
		}))
		assert.Equal(t, 3, n)
	})
}

func TestRefused(t *testing.T) {
	_, err := linesOf(t, file(t, "decimal.parquet"))
	require.ErrorContains(t, err, `column "price"`)
	require.ErrorContains(t, err, "decimal")
	_, err = linesOf(t, file(t, "binary.parquet"))
	require.ErrorContains(t, err, `row 1: column "image": the bytes are no UTF-8 text`)
}

// A file that is cut short or has a wrong byte in it is an error or gives rows that are JSON; it never panics.
func TestDamaged(t *testing.T) {
	whole := file(t, "nested.parquet")
	for n := 0; n < len(whole); n += 7 {
		_, err := linesOf(t, whole[:n])
		require.Error(t, err, "%d bytes of %d", n, len(whole))
	}
	for at := 0; at < len(whole); at += 7 {
		wrong := bytes.Clone(whole)
		wrong[at] ^= 0x5a
		lines, _ := linesOf(t, wrong)
		for _, line := range lines {
			require.True(t, json.Valid([]byte(line)), "byte %d", at)
		}
	}
}
