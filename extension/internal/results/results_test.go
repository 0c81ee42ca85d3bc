package results

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var aTime = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

const ourSummary = `{"schema":1,"scenario":"s","verdict":{}}`

func folderWith(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	return dir
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestResults_OfAnEarlierRunAreMovedAside(t *testing.T) {
	files := map[string]string{
		"summary.json": ourSummary, "config.json": `{"THRESHOLDS":"smoke","RESULTS":"x"}`, "records.ndjson": "r", "records.ndjson.gz": "z",
		"tables/levels.json": "{}", "notes.txt": "mine", "capacity.json": "{}", "embeddings-burst-short.json": "{}",
	}
	dir := folderWith(t, files)
	to, err := ClearFolder(dir, aTime)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "previous-2026-02-03-040506"), to)
	require.Equal(t, []string{"notes.txt", "previous-2026-02-03-040506"}, namesIn(t, dir))
	require.Equal(t, []string{
		"capacity.json", "config.json", "embeddings-burst-short.json", "records.ndjson", "records.ndjson.gz", "summary.json", "tables",
	}, namesIn(t, to))

	to, err = ClearFolder(dir, aTime)
	require.NoError(t, err)
	require.Empty(t, to, "nothing is left to move")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "summary.json"), nil, 0o600)) // of a full disk
	to, err = ClearFolder(dir, aTime)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "previous-2026-02-03-040506-2"), to, "twice in a second")
}

func TestFile_OfAnotherProgramStays(t *testing.T) {
	for name, text := range map[string]string{"config.json": `{"port": 8080}`, "summary.json": `{"schema": 1}`} {
		dir := folderWith(t, map[string]string{name: text, "records.ndjson": "r"})
		_, err := ClearFolder(dir, aTime)
		require.ErrorIs(t, err, ErrNotOurs)
		require.ErrorContains(t, err, filepath.Join(dir, name))
		require.ElementsMatch(t, []string{name, "records.ndjson"}, namesIn(t, dir))
	}
}

func TestRecordsInAnyPlaceAreMovedAside(t *testing.T) {
	dir := folderWith(t, map[string]string{"mine.ndjson": "r", "empty.ndjson": ""})
	to, err := ClearRecords(filepath.Join(dir, "mine.ndjson"), aTime)
	require.NoError(t, err)
	require.Equal(t, []string{"mine.ndjson"}, namesIn(t, to))
	for _, nothing := range []string{"empty.ndjson", "absent.ndjson"} {
		to, err = ClearRecords(filepath.Join(dir, nothing), aTime)
		require.NoError(t, err)
		require.Empty(t, to)
	}
	to, err = ClearRecords(os.DevNull, aTime)
	require.NoError(t, err)
	require.Empty(t, to)
}

func TestFile_IsWrittenWholeOrNotAtAll(t *testing.T) {
	dir := folderWith(t, map[string]string{"summary.json": "old"})
	file := filepath.Join(dir, "summary.json")
	require.NoError(t, WriteWhole(file, "new"))
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "new", string(b))
	require.Equal(t, []string{"summary.json"}, namesIn(t, dir), "no other file is left")
	require.Error(t, WriteWhole(filepath.Join(dir, "absent", "summary.json"), "x"))
	require.Error(t, WriteWhole(filepath.Join(folderWith(t, map[string]string{"config.json/x": ""}), "config.json"), "x"), "a folder stands there")
}
