package wiretap

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a tap on loopback, or skips.
func open(t *testing.T, port int) *Tap {
	t.Helper()
	tap, err := Open("lo", port)
	if errors.Is(err, ErrNotAllowed) {
		t.Skip(err)
	}
	require.NoError(t, err)
	return tap
}

const events = 5

// eventServer sends a few events a request and notes the clock right before each write.
func eventServer(t *testing.T, network, address string, secure bool) (server *httptest.Server, writes *[]int64) {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Skip("this machine does not listen on ", address, ": ", err)
	}
	writes = new([]int64)
	server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range events {
			*writes = append(*writes, time.Now().UnixNano())
			_, _ = w.Write([]byte("data: " + strings.Repeat("x", i) + "\r\n\r\n"))
			_ = http.NewResponseController(w).Flush()
		}
	}))
	_ = server.Listener.Close()
	server.Listener = listener
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server, writes
}

func portOf(server *httptest.Server) int { return server.Listener.Addr().(*net.TCPAddr).Port }

// Each request and each event has a time that lies between what both ends' clocks say of it.
func TestExchanges(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		server, writes := eventServer(t, "tcp", address, false)
		tap := open(t, portOf(server))
		other := httptest.NewServer(http.NotFoundHandler())
		defer other.Close()
		passed, err := other.Client().Get(other.URL) // not captured: another port
		require.NoError(t, err)
		require.NoError(t, passed.Body.Close())
		var began, reads []int64
		for range 2 {
			began = append(began, time.Now().UnixNano())
			request, err := http.NewRequest(http.MethodPost, server.URL+"/some/path", bytes.NewReader(bytes.Repeat([]byte("b"), 100_000)))
			require.NoError(t, err)
			request.Header.Set("X-Request-Id", "mine")
			response, err := server.Client().Do(request)
			require.NoError(t, err)
			lines := bufio.NewScanner(response.Body)
			for lines.Scan() {
				if lines.Text() == "" {
					reads = append(reads, time.Now().UnixNano())
				}
			}
			require.NoError(t, response.Body.Close())
		}
		capture, err := tap.Close()
		require.NoError(t, err)
		require.Zero(t, capture.Drops)
		require.Len(t, capture.Flows, 1)
		exchanges, err := capture.Exchanges()
		require.NoError(t, err)
		require.Len(t, exchanges, 2)
		for i, x := range exchanges {
			require.Equal(t, "mine", x.ID)
			require.Equal(t, "/some/path", x.Path)
			require.Equal(t, 200, x.Status)
			require.True(t, x.Complete)
			require.Len(t, x.Events, events)
			require.GreaterOrEqual(t, x.Request.SentNs, began[i])
			require.GreaterOrEqual(t, x.Request.ArrivedNs, x.Request.SentNs)
			for k, event := range x.Events {
				require.Len(t, event.Data, k)
				wroteNs, readNs := (*writes)[i*events+k], reads[i*events+k]
				require.GreaterOrEqual(t, wroteNs, x.Request.ArrivedNs)
				require.GreaterOrEqual(t, event.SentNs, wroteNs)
				require.GreaterOrEqual(t, event.ArrivedNs, event.SentNs)
				require.GreaterOrEqual(t, readNs, event.ArrivedNs)
			}
			require.GreaterOrEqual(t, x.Response.ArrivedNs, x.Events[events-1].ArrivedNs)
		}
	}
}

// Over TLS the records are what can be seen.
func TestRecords(t *testing.T) {
	server, writes := eventServer(t, "tcp", "127.0.0.1:0", true)
	tap := open(t, portOf(server))
	client := server.Client()
	client.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS12 // there the handshake has record types of its own
	response, err := client.Get(server.URL)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	capture, err := tap.Close()
	require.NoError(t, err)
	require.Len(t, capture.Flows, 1)
	var data []Record
	for _, r := range capture.Flows[0].FromServer.Records() {
		if r.Type == 23 {
			data = append(data, r)
		}
	}
	require.GreaterOrEqual(t, len(data), events)
	for k := range events {
		require.GreaterOrEqual(t, data[k].SentNs, (*writes)[k])
	}
}

// The command writes the same for tests in other languages.
func TestCommand(t *testing.T) {
	server, _ := eventServer(t, "tcp", "127.0.0.1:0", false)
	_, err := open(t, portOf(server)).Close()
	require.NoError(t, err)
	binary, out := filepath.Join(t.TempDir(), "wiretap"), filepath.Join(t.TempDir(), "out.json")
	said, err := exec.Command("go", "build", "-o", binary, "./cmd").CombinedOutput()
	require.NoError(t, err, string(said))
	port := server.URL[strings.LastIndexByte(server.URL, ':')+1:]
	command := exec.Command(binary, "-port", port, "-out", out)
	stdin, err := command.StdinPipe()
	require.NoError(t, err)
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "wiretap: capturing\n", line)
	response, err := server.Client().Get(server.URL + "/x")
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.NoError(t, stdin.Close())
	require.NoError(t, command.Wait())
	b, err := os.ReadFile(out)
	require.NoError(t, err)
	var report struct {
		Drops     int
		Exchanges []struct {
			Path     string
			Complete bool
			Request  struct{ SentNs, ArrivedNs int64 }
			Events   [][3]int64
		}
	}
	require.NoError(t, json.Unmarshal(b, &report))
	require.Zero(t, report.Drops)
	require.Len(t, report.Exchanges, 1)
	x := report.Exchanges[0]
	require.Equal(t, "/x", x.Path)
	require.True(t, x.Complete)
	require.Positive(t, x.Request.SentNs)
	require.Len(t, x.Events, events)
	for k, e := range x.Events {
		require.Greater(t, e[0], x.Request.ArrivedNs)
		require.GreaterOrEqual(t, e[1], e[0])
		require.EqualValues(t, k, e[2])
	}
}
