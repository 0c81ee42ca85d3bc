package stream

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// However a chunked body is cut into receives, its bytes come out the same.
func TestFramingIsIndependentOfReceives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var wire, want strings.Builder
		for _, chunk := range rapid.SliceOf(rapid.StringN(1, 40, 60)).Draw(t, "chunks") {
			fmt.Fprintf(&wire, "%x%s\r\n%s\r\n", len(chunk), rapid.SampledFrom([]string{"", ";x", " "}).Draw(t, "extension"), chunk)
			want.WriteString(chunk)
		}
		wire.WriteString("0\r\n" + rapid.SampledFrom([]string{"", "A: b\r\n", "A: b\r\nC: d\r\n"}).Draw(t, "trailer") + "\r\n")
		f, got := ChunkedFraming(), strings.Builder{}
		for rest := []byte(wire.String()); len(rest) > 0; {
			part := rest[:rapid.IntRange(1, len(rest)).Draw(t, "receive")]
			rest = rest[len(part):]
			for len(part) > 0 {
				if f.Over() {
					t.Fatalf("over with %d bytes left", len(part)+len(rest))
				}
				body, n, err := f.Next(part)
				if err != nil {
					t.Fatal(err)
				}
				got.Write(body)
				part = part[n:]
			}
		}
		if !f.Over() || got.String() != want.String() {
			t.Fatalf("over %v, got %q, want %q", f.Over(), got.String(), want.String())
		}
	})
}

// Both clients of the binary read the same bytes by the same rules.
func TestFramingAgreesWithTheParser(t *testing.T) {
	for _, body := range []string{
		"5\r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n", "5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n",
		"5\r\nhelloX\r\n", "5\r\nhello\rX", "\r\nhello", "5g\r\n", "1000000000000000\r\n", "0\r\nno name\r\n\r\n",
		"5;" + strings.Repeat("x", maxExtensionBytes+1) + "\r\nhello",
	} {
		whole := framer{left: -1}
		for rest := []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body); len(rest) > 0 && whole.state < stateComplete; {
			_, n := whole.next(rest)
			rest = rest[n:]
		}
		f := ChunkedFraming()
		var err error
		for rest := []byte(body); len(rest) > 0 && !f.Over() && err == nil; {
			var n int
			_, n, err = f.Next(rest)
			rest = rest[n:]
		}
		if whole.state == stateBroken {
			require.EqualError(t, err, whole.problem, "%.40q", body)
		} else {
			require.NoError(t, err, "%.40q", body)
			require.Equal(t, whole.state == stateComplete, f.Over(), "%.40q", body)
		}
	}
}

func TestFramingOfOtherBodies(t *testing.T) {
	f := LengthFraming(3)
	body, n, err := f.Next([]byte("abcd"))
	require.NoError(t, err)
	require.Equal(t, "abc", string(body))
	require.Equal(t, 3, n)
	require.True(t, f.Over())

	f = LengthFraming(3)
	_, _, _ = f.Next([]byte("ab"))
	require.False(t, f.Close(), "the connection ended early")

	f = OpenFraming()
	body, _, _ = f.Next([]byte("ab"))
	require.Equal(t, "ab", string(body))
	require.True(t, f.UntilEOF())
	require.True(t, f.Close())

	none, empty := Framing{}, LengthFraming(0)
	require.True(t, none.Over())
	require.True(t, empty.Over())
}
