package lengths

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var mooncake = &Likeness{
	Names: []string{"timestamp", "input_length", "output_length", "hash_ids", "type", "note"},
	Roles: []string{Time, InputTokens, OutputTokens, BlockIDs, Any, Empty},
}

const plain = `{"timestamp": 12.5, "input_length": 600, "output_length": 3, "hash_ids": [7, 0,12], "type": "text", "note": null}`

func TestRows_LinesThatAreAlike(t *testing.T) {
	var r Rows
	for _, line := range []string{
		plain,
		`{"timestamp":30,"input_length":1,"output_length":999999999,"hash_ids":[],"type":-1.5e3,"note":""}`,
		" {\t\"timestamp\" : \"7.0\" , \"input_length\":5,\"output_length\":6,\"hash_ids\":[ 1 ],\"type\":true,\"note\":null } \r",
	} {
		require.True(t, r.Add(mooncake, line), line)
	}
	require.Equal(t, 3, r.Len())
	require.Equal(t, `{"inputTokens":600,"outputTokens":3,"blockIds":[7,0,12]}`, r.Text(0))
	require.Equal(t, `{"inputTokens":1,"outputTokens":999999999,"blockIds":[]}`, r.Text(1))
	require.Equal(t, `{"inputTokens":5,"outputTokens":6,"blockIds":[1]}`, r.Text(2))
	require.Equal(t, []float64{12.5, 30, 7}, r.Times)
	require.Equal(t, []float64{600, 1, 5}, r.Inputs)
	require.Equal(t, []float64{3, 0, 1}, r.IDs)
	require.Equal(t, []any{true, 7.0, 30.0}, []any{r.Fraction, r.Least, r.Most})
	r.Reset()
	require.True(t, r.Add(mooncake, strings.Replace(plain, "12.5", "12", 1)))
	require.Equal(t, []any{1, false, 12.0, 12.0}, []any{r.Len(), r.Fraction, r.Least, r.Most}, "nothing is left of the rows before")
}

func TestRows_AnyOtherLineIsLeftToTheReader(t *testing.T) {
	for sentence, change := range map[string][2]string{
		"no answer":                   {`"output_length": 3`, `"output_length": 0`},
		"no input":                    {`"input_length": 600`, `"input_length": 0`},
		"a length with a fraction":    {`"output_length": 3`, `"output_length": 3.0`},
		"a negative length":           {`"output_length": 3`, `"output_length": -3`},
		"a length as a text":          {`"output_length": 3`, `"output_length": "3"`},
		"a length with a zero before": {`"output_length": 3`, `"output_length": 03`},
		"a length that is too long":   {`"output_length": 3`, `"output_length": 1000000000`},
		"a length that is absent":     {`"output_length": 3, `, ``},
		"a field more":                {`"note"`, `"more": 1, "note"`},
		"a field behind the last":     {`null}`, `null, "more": 1}`},
		"fields in another order":     {`"type": "text", "note": null`, `"note": null, "type": "text"`},
		"a field twice":               {`"type": "text"`, `"type": "text", "type": "text"`},
		"a name with an escape":       {`"note"`, `"n\u006fte"`},
		"a field that was empty":      {`"note": null`, `"note": "now"`},
		"a list where a text was":     {`"text"`, `["text"]`},
		"a text with an escape":       {`"text"`, `"te\"xt"`},
		"a text with a line's end":    {`"text"`, "\"te\x01xt\""},
		"a negative time":             {`12.5`, `-12.5`},
		"a time of nothing":           {`12.5`, `null`},
		"a date":                      {`12.5`, `"2024-05-10 00:00:00"`},
		"a time of 16 digits":         {`12.5`, `"1753780607550317"`},
		"a time that ends in a point": {`12.5`, `"12."`},
		"a time with a sign":          {`12.5`, `"+12"`},
		"a time that is infinite":     {`12.5`, `1e999`},
		"an id that is not whole":     {`[7, 0,12]`, `[7, 0.5]`},
		"an id that is too long":      {`[7, 0,12]`, `[1234567890123456]`},
		"an id that is a text":        {`[7, 0,12]`, `["7"]`},
		"ids that end in a comma":     {`[7, 0,12]`, `[7,]`},
		"ids without commas":          {`[7, 0,12]`, `[7 8]`},
		"a list that does not end":    {`[7, 0,12]`, `[7`},
		"two rows in a line":          {`null}`, `null}{}`},
		"a line that ends early":      {`: null}`, ``},
		"a number that is none":       {`"text"`, `1.2.3`},
	} {
		line := strings.Replace(plain, change[0], change[1], 1)
		require.NotEqual(t, plain, line, sentence)
		var r Rows
		require.True(t, r.Add(mooncake, plain))
		require.False(t, r.Add(mooncake, line), "%s: %s", sentence, line)
		require.True(t, r.Add(mooncake, plain))
		require.Equal(t, 2, r.Len())
		require.Equal(t, r.Text(0), r.Text(1), "nothing of the line stays: %s", sentence)
		require.Len(t, r.Times, 2)
		require.Len(t, r.IDs, 2)
	}
}

func TestRows_CellsOfATable(t *testing.T) {
	l := &Likeness{Roles: []string{Time, Any, InputTokens, OutputTokens, Empty}, Delimiter: ";", Newline: "\r\n"}
	var r Rows
	require.True(t, r.Add(l, "5;GPT-4, ü;47;8;\r\n"))
	require.True(t, r.Add(l, "5.50;;1;2;"), "the last line may lack its end")
	require.Equal(t, `{"inputTokens":47,"outputTokens":8}`, r.Text(0))
	require.Equal(t, []float64{5, 5.5}, r.Times)
	require.Empty(t, r.IDs)
	for sentence, line := range map[string]string{
		"a quote":              "5;\"a\";47;8;\r\n",
		"another line end":     "5;a;47;8;\n",
		"a cell too few":       "5;a;47;8\r\n",
		"a cell too many":      "5;a;47;8;;\r\n",
		"a cell that has more": "5;a;47;8;x\r\n",
		"a space at a length":  "5;a; 47;8;\r\n",
		"a blank row":          ";;;;\r\n",
		"a blank line":         "\r\n",
		"a number of ids":      "5;a;47;[8];\r\n",
	} {
		require.False(t, r.Add(l, line), sentence)
	}
	require.Equal(t, 2, r.Len())
}

func TestRows_Dates(t *testing.T) {
	origin := 1700158546000.0 // 2023-11-16 18:15:46 UTC
	zoned := &Likeness{Roles: []string{Time, InputTokens, OutputTokens}, Delimiter: ",", Newline: "\n", Dates: true, Zoned: true, OriginMs: origin}
	local := &Likeness{Roles: zoned.Roles, Delimiter: ",", Newline: "\n", Dates: true, OriginMs: origin}
	fraction, err := json.Number("0.6805907").Float64()
	require.NoError(t, err)
	for text, want := range map[string]float64{
		"2023-11-16 18:15:46.6805907":    fraction * 1000,
		"2023-11-16T18:15:47":            1000,
		"2024-02-29 00:00:00":            1709164800000 - origin,
		"2023-11-16 19:15:46+01:00":      0,
		"2023-11-16 16:45:46.5 -0130":    500,
		"2023-11-16T18:15:46.25Z":        250,
		"2023-11-16 18:15:46 UTC":        0,
		"2023-11-16 18:15:46.0000+00:00": 0,
	} {
		has := strings.ContainsAny(text, "Z+") || strings.Contains(text, "UTC") || strings.Contains(text, " -")
		l, other := local, zoned
		if has {
			l, other = zoned, local
		}
		var r Rows
		require.True(t, r.Add(l, text+",1,2\n"), text)
		require.Equal(t, []float64{want}, r.Times, text)
		require.False(t, r.Add(other, text+",1,2\n"), "an offset that others lack, or none where they have one: %s", text)
	}
	for _, text := range []string{
		"2023-02-29 00:00:00", "2023-13-01 00:00:00", "2023-00-01 00:00:00", "2023-01-00 00:00:00", "2023-11-16 24:00:00",
		"2023-11-16 18:60:00", "2023-11-16 18:15:60", "2023-11-16 18:15", "2023-11-16 18:15:46.", "2023-11-16 18:15:46 ",
		"05/10/2024 00:00:01", "1969-12-31 00:00:00", "5", "",
	} {
		require.False(t, new(Rows).Add(local, text+",1,2\n"), text)
	}
	for _, text := range []string{"2023-11-16 18:15:46+1", "2023-11-16 18:15:46+01:0x", "2023-11-16 18:15:46*01:00", "2023-11-16 18:15:46+010:0"} {
		require.False(t, new(Rows).Add(zoned, text+",1,2\n"), text)
	}
}
