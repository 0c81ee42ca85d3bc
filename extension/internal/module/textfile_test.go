package module

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/js/modulestest"
	"go.k6.io/k6/v2/lib/fsext"

	"github.com/tokenclock/tokenclock/extension/internal/records"
)

// fileVU runs a script in the init context of a VU that may read files, with the path of a file that holds content.
func fileVU(t *testing.T, content []byte, script string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	rt := modulestest.NewRuntime(t)
	rt.VU.InitEnvField.FileSystems = map[string]fsext.Fs{"file": fsext.NewOsFs()}
	js := rt.VU.Runtime()
	require.NoError(t, js.Set("tc", New(&records.Log{}).NewModuleInstance(rt.VU).Exports().Named))
	value, err := js.RunString(`"use strict"; const file = new tc.TextFile(` + strconv.Quote(path) + `), got = [];
		(function () {` + script + `})(); JSON.stringify(got)`)
	if err != nil {
		return "", err
	}
	return value.String(), nil
}

func TestTextFile_TextByLines(t *testing.T) {
	const script = `file.lines((line, number) => { got.push([number, line]); return number < 4; })`
	for sentence, text := range map[string]string{
		"a byte order mark and CRLF are no part of a line": "\uFEFFa\r\n \r\nÄ b\r\nc\r\nd",
		"blank lines are left out, but count":              "a\n\nÄ b\nc\nd\n",
	} {
		got, err := fileVU(t, []byte(text), script)
		require.NoError(t, err)
		require.Equal(t, `[[1,"a"],[3,"Ä b"],[4,"c"]]`, got, sentence)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write([]byte("\uFEFFa\nb"))
	require.NoError(t, w.Close())
	got, err := fileVU(t, packed.Bytes(), script+`; got.push(file.head, file.text())`)
	require.NoError(t, err)
	require.Equal(t, `[[1,"a"],[2,"b"],"a\nb","a\nb"]`, got, "what gzip packed is unpacked")
	_, err = fileVU(t, packed.Bytes()[:packed.Len()-9], script)
	require.ErrorContains(t, err, "unexpected EOF", "a file that was cut is not read")
	_, err = fileVU(t, []byte("a\n\xe4b\n"), script)
	require.ErrorContains(t, err, "line 2 is no UTF-8 text")
}

func TestTextFile_JSONByElements(t *testing.T) {
	const script = `file.elements((element, number) => { got.push([number, JSON.parse(element)]); return number < 3; })`
	got, err := fileVU(t, []byte("\n[ {\"a\": [1, 2]},\n\"Ä\", null, 5]\n"), script)
	require.NoError(t, err)
	require.Equal(t, `[[1,{"a":[1,2]}],[2,"Ä"],[3,null]]`, got)
	for text, message := range map[string]string{
		`{"a": 1}`: "is no JSON array",
		`[1, 2`:    "behind element 2",
		`[1, {]`:   "element 2",
		`[1] [2]`:  "something follows",
	} {
		_, err := fileVU(t, []byte(text), script)
		require.ErrorContains(t, err, message)
	}
}

func TestTextFile_WhatACallbackThrowsKeepsItsName(t *testing.T) {
	got, err := fileVU(t, []byte("a\n"), `
		class SettingError extends Error { name = "SettingError" }
		try { file.lines(() => { throw new SettingError("bad row"); }); } catch (error) { got.push(error.name, error.message); }`)
	require.NoError(t, err)
	require.Equal(t, `["SettingError","bad row"]`, got)
}

func TestRows_FirstVUFillsThem(t *testing.T) {
	root := New(&records.Log{})
	const fill = `
		let filled = 0;
		const rows = new tc.Rows("DATASET", (add) => { filled++; add("one"); add("zwölf"); });`
	require.Equal(t, `[1,2,"one","zwölf"]`, initVU(t, root, fill+`return [filled, rows.length, rows.at(0), rows.at(1)];`))
	require.Equal(t, `[0,2,"one","zwölf"]`, initVU(t, root, fill+`return [filled, rows.length, rows.at(0), rows.at(1)];`))
	require.Contains(t, initVU(t, root, fill+`try { rows.at(2); } catch (error) { return error.message; }`), "text 2 of 2")
}

func TestRows_FillSaysWhichAndInWhatOrder(t *testing.T) {
	require.Equal(t, `[2,"c","a"]`, initVU(t, New(&records.Log{}), `
		const rows = new tc.Rows("TRACE", (add) => { add("a"); add("b"); add("c"); return new Uint32Array([2, 0]); });
		return [rows.length, rows.at(0), rows.at(1)];`))
	require.Contains(t, initVU(t, New(&records.Log{}), `
		try { new tc.Rows("TRACE", (add) => { add("a"); return new Uint32Array([1]); }); } catch (error) { return error.message; }`), "text 1 of 1")
}

func TestTextFile_TextByPieces(t *testing.T) {
	line := strings.Repeat("ü", 20_000) + "\r\n"
	got, err := fileVU(t, []byte("\uFEFF"+strings.Repeat(line, 6)+"\n\nend"),
		`file.pieces((piece) => { got.push([piece.length, piece.slice(-5)]); })`)
	require.NoError(t, err)
	require.Equal(t, `[[20002,"üüü\r\n"],[20002,"üüü\r\n"],[20002,"üüü\r\n"],[40004,"üüü\r\n"],[20007,"\n\nend"]]`, got, "whole lines with their ends, in the end 64 kB or more")
	got, err = fileVU(t, []byte(strings.Repeat(line, 6)), `file.pieces(() => { got.push(1); return false; })`)
	require.NoError(t, err)
	require.Equal(t, `[1]`, got, "false ends it")
}

func TestTextFile_ParquetByRows(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "parquet", "testdata", "snappy.parquet"))
	require.NoError(t, err)
	got, err := fileVU(t, content, `got.push(file.parquet, file.head.split("\n")[0]);
		file.lines((line, number) => { got.push([number, JSON.parse(line).prompt]); return number < 2; })`)
	require.NoError(t, err)
	require.Equal(t, `[true,"{\"prompt\":\"one\",\"output_tokens\":5}",[1,"one"],[2,"zwei ü"]]`, got)
	_, err = fileVU(t, content[:len(content)-20], "")
	require.ErrorContains(t, err, "Parquet file cannot be read")
}
