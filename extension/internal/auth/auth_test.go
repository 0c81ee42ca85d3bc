package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "sk-4f1d-never-shown"

var bearer = Outgoing{Keyed: []Field{{"Authorization", "Bearer {{key}}"}}}

// asked is a source that a test answers.
type asked struct {
	gets  atomic.Int64
	reply func(n int64) (key, error)
}

func (s *asked) get(context.Context) (key, error) { return s.reply(s.gets.Add(1)) }
func (s *asked) changed() bool                    { return false }
func (s *asked) secrets() []string                { return nil }

func newKeys(t *testing.T, from source) *keys {
	k := &keys{from: from, now: time.Now}
	t.Cleanup(k.Close)
	return k
}

func authorize(t *testing.T, c Credentials) (string, uint64) {
	fields, generation, err := c.Authorize(t.Context(), bearer)
	require.NoError(t, err)
	require.Len(t, fields, 1)
	require.Equal(t, "Authorization", fields[0].Name)
	return strings.TrimPrefix(fields[0].Value, "Bearer "), generation
}

func token(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(claims)) + ".sig"
}

func TestKey_ExpiryIsReadFromItsClaims(t *testing.T) {
	for text, want := range map[string]time.Time{
		token(`{"exp":1700000000}`):        time.Unix(1700000000, 0),
		token(`{"exp":1700000000.5}`):      time.UnixMilli(1700000000500),
		token(`{"sub":"x"}`):               {},
		token(`{"exp":"soon"}`):            {},
		token(`{"exp":99999999999999999}`): {},
		"sk-plain":                         {},
		"a.b.c":                            {},
	} {
		require.True(t, want.Equal(expiry(text)), text)
	}
}

func TestRefusals_ShareOneRenewal(t *testing.T) {
	go401 := make(chan struct{})
	s := &asked{}
	s.reply = func(n int64) (key, error) {
		if n > 1 {
			<-go401
		}
		return key{secret: fmt.Sprintf("key-%d", n)}, nil
	}
	k := newKeys(t, s)
	_, first := authorize(t, k)
	k.notBefore = time.Time{}
	var group sync.WaitGroup
	var renewed atomic.Int64
	for range 100 {
		group.Go(func() {
			if k.Renew(context.Background(), first) {
				renewed.Add(1)
			}
		})
	}
	require.Eventually(t, func() bool { return s.gets.Load() == 2 }, 10*time.Second, time.Millisecond)
	close(go401)
	group.Wait()
	require.EqualValues(t, 100, renewed.Load())
	require.EqualValues(t, 2, s.gets.Load())
	got, _ := authorize(t, k)
	require.Equal(t, "key-2", got)
	require.True(t, k.Renew(t.Context(), first), "an answer that is late finds the new key")
	require.Equal(t, Counts{Renewals: 1}, k.Counts())
	require.Equal(t, []string{"key-1", "key-2"}, k.Secrets())
}

func TestRefusals_StormRenewsRarely(t *testing.T) {
	s := &asked{reply: func(int64) (key, error) { return key{secret: "same"}, nil }}
	k := newKeys(t, s)
	began := time.Now()
	_, first := authorize(t, k)
	for range 1000 {
		require.False(t, k.Renew(t.Context(), first))
	}
	require.LessOrEqual(t, s.gets.Load(), 2+int64(time.Since(began)/restAfterRenewal))
	require.Zero(t, k.Counts().Renewals)
}

func TestSource_FailingBacksOffAndIsReportedOnce(t *testing.T) {
	s := &asked{}
	s.reply = func(n int64) (key, error) {
		if n == 1 {
			return key{secret: "first"}, nil
		}
		return key{}, errors.New("gone")
	}
	k := newKeys(t, s)
	var said []string
	k.warn = func(line string) { said = append(said, line) }
	now := time.Now()
	k.now = func() time.Time { return now }
	_, first := authorize(t, k)
	for at := time.Duration(0); at < 100*time.Second; at += 100 * time.Millisecond {
		now = now.Add(100 * time.Millisecond)
		require.False(t, k.Renew(t.Context(), first))
	}
	// At 0.5 s, and after rests of 1, 2, 4, 8, 16, 30 and 30 s.
	require.InDelta(t, 9, s.gets.Load(), 1)
	require.Equal(t, []string{"tokenclock: the key could not be renewed: gone; it is tried again"}, said)
	require.Equal(t, Counts{Failed: s.gets.Load() - 1}, k.Counts())
	got, _ := authorize(t, k)
	require.Equal(t, "first", got)
}

func TestKey_ValidOneIsGivenDuringRenewal(t *testing.T) {
	blocked := make(chan struct{})
	s := &asked{}
	s.reply = func(n int64) (key, error) {
		if n > 1 {
			<-blocked
		}
		return key{secret: fmt.Sprintf("key-%d", n), expires: time.Now().Add(time.Hour)}, nil
	}
	k := newKeys(t, s)
	authorize(t, k)
	c := *k.current.Load()
	require.WithinDuration(t, time.Now().Add(time.Hour-ahead), c.renewAt, 10*time.Second)
	c.renewAt = time.Now() // as if nearly an hour had passed
	k.current.Store(&c)
	k.notBefore = time.Time{}
	require.True(t, k.Ready())
	got, _ := authorize(t, k)
	require.Equal(t, "key-1", got, "it is still valid")
	require.Eventually(t, func() bool { return s.gets.Load() == 2 }, 10*time.Second, time.Millisecond)
	got, _ = authorize(t, k)
	require.Equal(t, "key-1", got)
	close(blocked)
	require.Eventually(t, func() bool { return k.current.Load().secret == "key-2" }, 10*time.Second, time.Millisecond)
}

func TestKeysAreRenewedByThemselvesBeforeTheyEnd(t *testing.T) {
	s := &asked{}
	s.reply = func(n int64) (key, error) {
		return key{secret: fmt.Sprintf("key-%d", n), expires: time.Now().Add(time.Second)}, nil
	}
	k := newKeys(t, s)
	authorize(t, k)
	// Nothing is sent meanwhile.
	require.Eventually(t, func() bool { return k.Counts().Renewals >= 2 }, 20*time.Second, time.Millisecond)
}

func TestKey_ExpiredOneIsSentWhereThereIsNoOther(t *testing.T) {
	s := &asked{}
	s.reply = func(n int64) (key, error) {
		if n == 2 {
			return key{}, errors.New("not now")
		}
		return key{secret: fmt.Sprintf("key-%d", n)}, nil
	}
	k := newKeys(t, s)
	now := time.Now()
	k.now = func() time.Time { return now }
	k.lifetime = time.Minute
	authorize(t, k)
	now = now.Add(2 * time.Minute)
	require.False(t, k.Ready())
	got, _ := authorize(t, k)
	require.Equal(t, "key-1", got, "the server's clock decides")
	now = now.Add(time.Minute)
	got, _ = authorize(t, k)
	require.Equal(t, "key-3", got)
}

func TestFile_IsReadAgainWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte("first\n"), 0o600))
	c, err := New(Spec{File: path}, Options{})
	require.NoError(t, err)
	defer c.Close()
	got, generation := authorize(t, c)
	require.Equal(t, "first", got)
	require.False(t, c.Renew(t.Context(), generation), "it is the same")
	require.NoError(t, os.WriteFile(path+".new", []byte("second"), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
	require.Eventually(t, func() bool { got, _ := authorize(t, c); return got == "second" }, 20*time.Second, 10*time.Millisecond)
}

func TestKey_RejectsWhatIsNone(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	for sentence, s := range map[string]Spec{
		"an empty file":         {File: write("empty", " \n")},
		"two keys":              {File: write("two", secret+"\n"+secret)},
		"a message":             {File: write("message", "error: "+secret+" is not valid")},
		"a file that is not":    {File: filepath.Join(dir, "none")},
		"a folder":              {File: dir},
		"a huge file":           {File: write("huge", strings.Repeat("x", keyBytes+1))},
		"a command that fails":  {Command: "echo " + secret + "; echo " + secret + " >&2; exit 3"},
		"a command that is not": {Command: secret},
		"a command of no words": {Command: "true"},
		"a command that chats":  {Command: "echo key is " + secret},
	} {
		if s.Command != "" && runtime.GOOS == "windows" {
			continue
		}
		c, err := New(s, Options{})
		require.NoError(t, err, sentence)
		_, _, err = c.Authorize(t.Context(), bearer)
		require.Error(t, err, sentence)
		require.NotContains(t, err.Error(), secret, sentence)
		require.Regexp(t, "API_KEY_(FILE|COMMAND)", err.Error(), sentence)
		c.Close()
	}
}

func TestCommand_IsNotInTheProcessList(t *testing.T) {
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("this system has no /proc")
	}
	// It prints what others see of the shell that runs it.
	c, err := New(Spec{Command: "x=" + secret + "; tr '\\0 ' '__' </proc/$$/cmdline"}, Options{})
	require.NoError(t, err)
	defer c.Close()
	seen, _ := authorize(t, c)
	require.Contains(t, seen, "/bin/sh", "it is the shell's")
	require.NotContains(t, seen, secret)
}

func TestTokensOfOAuth(t *testing.T) {
	var forms []string
	status, body := 200, `{"access_token":"tok-1","token_type":"bearer","expires_in":3600}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		id, password, _ := r.BasicAuth()
		forms = append(forms, strings.Join([]string{r.Method, id, password, r.PostForm.Encode()}, " "))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(path, []byte(secret+"\n"), 0o600))
	spec := Spec{OAuth: &OAuth{
		TokenURL: server.URL + "/token", ClientID: "me", SecretFile: path, Scope: "llm.read llm.write", Audience: "https://llm.example.com",
	}}
	c, err := New(spec, Options{HTTP: client})
	require.NoError(t, err)
	got, _ := authorize(t, c)
	c.Close()
	require.Equal(t, "tok-1", got)
	require.Equal(t, []string{
		"POST me " + secret + " audience=https%3A%2F%2Fllm.example.com&grant_type=client_credentials&scope=llm.read+llm.write",
	}, forms)
	require.WithinDuration(t, time.Now().Add(time.Hour), c.(*keys).current.Load().expires, time.Minute)
	require.Contains(t, c.Secrets(), secret)

	for _, answer := range []struct {
		status int
		body   string
		want   string
	}{
		{401, `{"error":"invalid_client","error_description":"` + secret + ` is wrong"}`, "HTTP 401, invalid_client"},
		{400, `{"error":"` + secret + `"}`, "HTTP 400"},
		{500, secret, "HTTP 500"},
		{200, `{"token":"` + secret + `"}`, "no access_token"},
		{200, `{"access_token":"two words"}`, "one word"},
	} {
		status, body = answer.status, answer.body
		c, err := New(spec, Options{HTTP: client})
		require.NoError(t, err)
		_, _, err = c.Authorize(t.Context(), bearer)
		require.ErrorContains(t, err, answer.want)
		require.ErrorContains(t, err, "OAUTH_TOKEN_URL")
		require.NotContains(t, err.Error(), secret)
		c.Close()
	}
}

func TestOAuth_SecretFollowsNoRedirect(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Error("the other server was asked") }))
	defer other.Close()
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		endpoint := httptest.NewServer(http.RedirectHandler(other.URL, status))
		c, err := New(Spec{OAuth: &OAuth{TokenURL: endpoint.URL, ClientID: "me", ClientSecret: secret}}, Options{})
		require.NoError(t, err)
		_, _, err = c.Authorize(t.Context(), bearer)
		require.ErrorContains(t, err, fmt.Sprintf("HTTP %d: it redirects, which is not followed", status))
		c.Close()
		endpoint.Close()
	}
}

// The cases of AWS's Signature Version 4 test suite, of requests that have no more headers than every request of ours.
func TestSignaturesAreThoseThatAWSPublished(t *testing.T) {
	env := map[string]string{"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
	sign := func(method, uri string) []Field {
		c, err := New(Spec{AWS: &AWS{Service: "service", Region: "us-east-1"}}, Options{Env: func(name string) string { return env[name] }})
		t.Cleanup(c.Close)
		require.NoError(t, err)
		c.(*signer).keys.now = func() time.Time { return time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC) }
		fields, _, err := c.Authorize(t.Context(), Outgoing{Method: method, Scheme: "https", Host: "example.amazonaws.com", URI: uri})
		require.NoError(t, err)
		return fields
	}
	for _, published := range []struct{ name, method, uri, signature string }{
		{"get-vanilla", "GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"post-vanilla", "POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"get-vanilla-query-order-key-case", "GET", "/?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		{"post-vanilla-query", "POST", "/?Param1=value1", "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
	} {
		require.Equal(t, []Field{
			{"X-Amz-Date", "20150830T123600Z"},
			{"Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, " +
				"SignedHeaders=host;x-amz-date, Signature=" + published.signature},
		}, sign(published.method, published.uri), published.name)
	}
	env["AWS_SESSION_TOKEN"] = "session/token"
	with := sign("POST", "/")
	require.Contains(t, with, Field{"X-Amz-Security-Token", "session/token"})
	require.Contains(t, with[len(with)-1].Value, "SignedHeaders=host;x-amz-date;x-amz-security-token,")
	delete(env, "AWS_SECRET_ACCESS_KEY")
	_, err := New(Spec{AWS: &AWS{Service: "bedrock", Region: "us-east-1"}}, Options{Env: func(name string) string { return env[name] }})
	require.ErrorContains(t, err, "AWS_SECRET_ACCESS_KEY")
}
