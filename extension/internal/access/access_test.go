package access

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/auth"
)

func TestHeadersAreFilledForEachRequest(t *testing.T) {
	h, err := ParseHeaders(map[string]string{
		"Authorization": "Bearer {{key}}", "X-Team": "search", "X-Request": "r-{{ id }}", "X-Where": "{{level}}/{{index}}/{{serial}}/{{vu}}",
		"X-Session": "{{session}}", "X-Id": "{{uuid}}", "X-Two": "{{uuid}}{{uuid}}",
	})
	require.NoError(t, err)
	require.True(t, h.Authorized)
	require.Equal(t, []auth.Field{{Name: "Authorization", Value: "Bearer {{key}}"}}, h.Keyed)
	require.Equal(t, []auth.Field{{Name: "X-Team", Value: "search"}}, h.Static)
	first := h.Fill(Values{ID: "tc-1", Level: "c8", Index: 3, Serial: 17, VU: 2})
	byName := map[string]string{}
	for _, f := range first {
		byName[f.Name] = f.Value
	}
	require.Equal(t, "r-tc-1", byName["X-Request"])
	require.Equal(t, "c8/3/17/2", byName["X-Where"])
	require.Equal(t, "tc-1", byName["X-Session"], "a request that belongs to no conversation is one by itself")
	const form = `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`
	require.Regexp(t, "^"+form+"$", byName["X-Id"])
	require.Regexp(t, "^"+form+form+"$", byName["X-Two"])
	require.NotEqual(t, byName["X-Two"][:36], byName["X-Two"][36:])
	require.NotContains(t, byName, "Authorization", "the credentials put it in")
	require.Contains(t, h.Fill(Values{ID: "tc-2", Session: "s7"}), auth.Field{Name: "X-Session", Value: "s7"})
	require.Len(t, h.All(Values{}), 6)
}

func TestPlaceholdersThatAreNoneAreRefused(t *testing.T) {
	for value, want := range map[string]string{
		"{{sesion}}":       "none of {{id}}, {{index}}",
		"{{}}":             "none of",
		"{{uuid":           "{{ without }}",
		"{{key}}-{{uuid}}": "alone",
	} {
		_, err := ParseHeaders(map[string]string{"X-Header": value})
		require.ErrorContains(t, err, want, value)
		require.ErrorContains(t, err, "X-Header", value)
	}
}

func TestTracesHaveTheFormOfTheStandard(t *testing.T) {
	id, parent := NewTrace()
	require.Regexp(t, `^[0-9a-f]{32}$`, id)
	require.Regexp(t, `^00-`+id+`-[0-9a-f]{16}-01$`, parent)
	other, _ := NewTrace()
	require.NotEqual(t, id, other)
}

func TestTLS_AuthorityAndClientCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200 + len(r.TLS.PeerCertificates))
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.Config.ErrorLog = nil
	server.StartTLS()
	defer server.Close()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	pair := server.TLS.Certificates[0]
	cert := write("cert.pem", "CERTIFICATE", pair.Certificate[0])
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	require.NoError(t, err)
	key := write("key.pem", "PRIVATE KEY", der)
	junk := write("junk.pem", "JUNK", []byte("x"))
	get := func(s TLS) int {
		a, err := New(Spec{TLS: s}, auth.Options{})
		require.NoError(t, err)
		transport := &http.Transport{TLSClientConfig: a.Secure(nil)}
		defer transport.CloseIdleConnections()
		reply, err := (&http.Client{Transport: transport}).Get(server.URL)
		if err != nil {
			return 0
		}
		_ = reply.Body.Close()
		return reply.StatusCode
	}
	require.Equal(t, 0, get(TLS{}), "nobody vouches for the server")
	require.Equal(t, 200, get(TLS{CA: cert}))
	require.Equal(t, 200, get(TLS{SkipVerify: true}))
	require.Equal(t, 201, get(TLS{CA: cert, Cert: cert, Key: key}))

	for sentence, bad := range map[string]TLS{
		"TLS_CERT and TLS_KEY go together": {Cert: cert},
		"TLS_CA=" + junk + " holds no":     {CA: junk},
		"TLS_CA=none cannot be read":       {CA: "none"},
		"TLS_KEY=none cannot be read":      {Cert: cert, Key: "none"},
		"are no certificate with its key":  {Cert: cert, Key: junk},
	} {
		_, err := New(Spec{TLS: bad}, auth.Options{})
		require.ErrorContains(t, err, sentence)
	}
}

func TestTLS_StaysK6sWithoutSettings(t *testing.T) {
	base := &tls.Config{MinVersion: tls.VersionTLS12}
	var none *Access
	require.Same(t, base, none.Secure(base))
	a, err := New(Spec{}, auth.Options{})
	require.NoError(t, err)
	require.Same(t, base, a.Secure(base))
	a, err = New(Spec{TLS: TLS{SkipVerify: true}}, auth.Options{})
	require.NoError(t, err)
	require.True(t, a.Secure(base).InsecureSkipVerify)
	require.False(t, base.InsecureSkipVerify, "the others' stays as it is")
}
