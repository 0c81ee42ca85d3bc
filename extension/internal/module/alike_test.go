package module

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const alike = `
	const names = ["t", "in", "out"], roles = ["time", "inputTokens", "outputTokens"];
	const many = (rows) => { got.push([rows.length, ...rows.times, rows.least, rows.most]); };`

func TestTextFile_LinesThatAreAlikeComeTogether(t *testing.T) {
	const text = `{"t": 1, "in": 2, "out": 3}
{"t": 2, "in": 3, "out": 4}

{"t": 4, "in": 5, "out": 6}
{"t": 5, "in": 6}
{"t": 6, "in": 7, "out": 8}
{"t": 7, "in": 8, "out": 9}
`
	got, err := fileVU(t, []byte(text), alike+`
		file.lines((line, number) => { got.push(number); return { names, roles }; }, many);`)
	require.NoError(t, err)
	require.Equal(t, `[1,[2,2,4,2,4],5,[2,6,7,6,7]]`, got, "lines keep their numbers and their order")
	got, err = fileVU(t, []byte(text), alike+`
		file.lines((line, number) => { got.push(number); return number === 5 ? false : { names, roles }; }, many);`)
	require.NoError(t, err)
	require.Equal(t, `[1,[2,2,4,2,4],5]`, got, "false ends it")
	got, err = fileVU(t, []byte(text), alike+`file.lines((line, number) => { got.push(number); return { names, roles }; });`)
	require.NoError(t, err)
	require.Equal(t, `[1,2,4,5,6,7]`, got, "without a second callback every line goes to the first")
	_, err = fileVU(t, []byte(text), alike+`file.lines(() => ({ names, roles: ["time"] }), many);`)
	require.ErrorContains(t, err, "3 names and 1 roles")
	got, err = fileVU(t, []byte(text), `
		try { file.lines(() => ({ names: ["t", "in", "out"], roles: ["time", "inputTokens", "outputTokens"] }), () => { throw new RangeError("stop"); }); }
		catch (error) { got.push(error.name, error.message); }`)
	require.NoError(t, err)
	require.Equal(t, `["RangeError","stop"]`, got)
}

func TestTextFile_RowsOfATableThatAreAlikeComeTogether(t *testing.T) {
	got, err := fileVU(t, []byte("t,in,out\r\n1,2,3\r\n2,3,4\r\n\"3\",4,5\r\n4,5,6\r\n5,6,7"), alike+`
		file.pieces((piece) => { got.push(piece); return { roles, delimiter: ",", newline: "\r\n" }; }, many);`)
	require.NoError(t, err)
	require.Equal(t, `["t,in,out\r\n1,2,3\r\n2,3,4\r\n\"3\",4,5\r\n4,5,6\r\n5,6,7"]`, got, "a piece is 1 kB or more at first")
	head := "t,in,out\r\n"
	for range 200 {
		head += "1,2,3\r\n"
	}
	got, err = fileVU(t, []byte(head+"\"3\",4,5\r\n4,5,6\r\n5,6,7"), alike+`let n = 0;
		file.pieces((piece) => { got.push(piece.length > 30 ? "long" : piece); return { roles, delimiter: ",", newline: "\r\n" }; },
			(rows) => { n += rows.length; got.push(n); });`)
	require.NoError(t, err)
	require.Equal(t, `["long",55,"\"3\",4,5\r\n",57]`, got, "a line that differs is a piece by itself")
}

func TestRows_KeepRowsThatTheFileHasRead(t *testing.T) {
	got, err := fileVU(t, []byte(`{"t": 1, "in": 2, "out": 3}
{"t": 2, "in": 3, "out": 4}
{"t": 3, "in": 5, "out": 6}
`), alike+`
		const rows = new tc.Rows("TRACE", (add) => {
			file.lines(() => { add("first"); return { names, roles }; }, add);
			return new Uint32Array([2, 0, 1]);
		});
		got.push(rows.length, rows.at(0), rows.at(1), rows.at(2));`)
	require.NoError(t, err)
	require.Equal(t, `[3,"{\"inputTokens\":5,\"outputTokens\":6}","first","{\"inputTokens\":3,\"outputTokens\":4}"]`, got)
}
