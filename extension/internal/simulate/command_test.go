package simulate

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The command says where it listens and ends with its standard input.
func TestCommand(t *testing.T) {
	stdin, stop, err := os.Pipe()
	require.NoError(t, err)
	saved := os.Stdin
	os.Stdin = stdin
	defer func() { os.Stdin = saved }()

	out, said := io.Pipe()
	cmd := NewCommand()
	cmd.SetOut(said)
	cmd.SetArgs([]string{"--port", "0", "--ttft", "normal:2ms,1ms", "--itl", "1ms", "--model", "m", "--exit-with-stdin", "--fault", "reasoning=2"})
	ended := make(chan error, 1)
	go func() { ended <- cmd.Execute() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	url, found := strings.CutPrefix(strings.TrimSpace(line), "simulate: listening on ")
	require.True(t, found, line)
	client := httpClient(t)
	response, err := client.Get(url + "/v1/models")
	require.NoError(t, err)
	b, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	_ = response.Body.Close()
	require.Contains(t, string(b), `"id":"m"`)
	require.NoError(t, stop.Close())
	require.NoError(t, <-ended)
	_ = stdin.Close()
	if response, err := client.Get(url + "/health"); err == nil {
		_ = response.Body.Close()
		require.NotEqual(t, http.StatusOK, response.StatusCode)
	}
}

func TestCommandRefusesBadSettings(t *testing.T) {
	for _, args := range [][]string{
		{"--ttft", "soon"}, {"--itl", "-1ms"}, {"--fault", "explode=1"}, {"--die-how", "slowly"}, {"--num-gpu-blocks", "2"},
		{"--reasoning-field", "x"}, {"--max-model-len", "1", "--ttft", "1ms"}, {"--listen", "nowhere"}, {"extra"},
	} {
		cmd := NewCommand()
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		cmd.SetArgs(append([]string{"--port", "0"}, args...))
		require.Error(t, cmd.Execute(), "%v", args)
	}
}
