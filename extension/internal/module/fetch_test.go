package module

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFetchOverAUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	s := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, r.URL, " ", r.Host)
	})}}
	s.Start()
	t.Cleanup(s.Close)
	v := newScriptVU(t, ``)
	for url, want := range map[string]string{
		"unix://" + socket + ":/v1/models?a=b": `[200, "/v1/models?a=b localhost", ""]`,
		"unix://" + socket:                     `[200, "/ localhost", ""]`,
	} {
		require.JSONEq(t, want, v.run(`const r = tc.fetch("`+url+`"); return [r.status, r.body, r.error];`))
	}
	require.Contains(t, v.run(`return tc.fetch("unix:///no/such/socket:/v1").error;`), "no such file")
}

func TestFetch(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/never":
			<-r.Context().Done()
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = fmt.Fprint(w, "part")
		default:
			body, _ := io.ReadAll(r.Body)
			w.WriteHeader(http.StatusTeapot)
			_, _ = fmt.Fprintf(w, "%s %s %s %s", r.Method, body, r.Header.Get("Content-Type"), r.Header.Get("X-A"))
		}
	}))
	t.Cleanup(s.Close)
	v := newScriptVU(t, ``)
	for sentence, tt := range map[string]struct{ call, want string }{
		"a plain call is a GET":                                       {`"/"`, `[418, "GET   ", ""]`},
		"a body is JSON unless the caller says so":                    {`"/", { method: "POST", body: "{}", headers: { "X-A": "b" } }`, `[418, "POST {} application/json b", ""]`},
		"the caller's content type counts":                            {`"/", { method: "PUT", body: "x", headers: { "content-type": "text/plain" } }`, `[418, "PUT x text/plain ", ""]`},
		"an answer that does not come is an error":                    {`"/never", { timeoutMs: 20 }`, `[0, "", "context deadline exceeded"]`},
		"of an answer that was cut there is what came, and the error": {`"/cut"`, `[200, "part", "unexpected EOF"]`},
	} {
		require.JSONEq(t, tt.want, v.run(`
			const get = (path, options) => tc.fetch("`+s.URL+`" + path, options);
			const r = get(`+tt.call+`);
			return [r.status, r.body, r.error];`), sentence)
	}
	require.JSONEq(t, `[0, "GET \"http://%zz\" is not a request that can be sent"]`, v.run(`const r = tc.fetch("http://%zz"); return [r.status, r.error];`))
}
