package simulate

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
)

func TestKeysAreGivenForTheSecretAndExpire(t *testing.T) {
	const lifetime = 400 * time.Millisecond
	s := start(t, func(c *Config) { c.ClientSecret, c.KeyLifetime = "s3cret", lifetime })
	client := httpClient(t)
	token := func(form url.Values, password string) (int, string) {
		r, err := http.NewRequest(http.MethodPost, s.URL+pathToken, strings.NewReader(form.Encode()))
		require.NoError(t, err)
		if password != "" {
			r.SetBasicAuth("me", password)
		}
		reply, err := client.Do(r)
		require.NoError(t, err)
		defer func() { _ = reply.Body.Close() }()
		body, _ := io.ReadAll(reply.Body)
		return reply.StatusCode, string(body)
	}
	ask := func(name, value string) (int, string) {
		r, err := http.NewRequest(http.MethodPost, s.URL+pathCompletions, strings.NewReader(`{"prompt":"a","max_tokens":1}`))
		require.NoError(t, err)
		r.Header.Set(name, value)
		reply, err := client.Do(r)
		require.NoError(t, err)
		defer func() { _ = reply.Body.Close() }()
		body, _ := io.ReadAll(reply.Body)
		return reply.StatusCode, string(body)
	}
	grant := url.Values{"grant_type": {"client_credentials"}}
	status, body := token(grant, "wrong")
	require.Equal(t, 401, status)
	require.Equal(t, "invalid_client", gjson.Get(body, "error").Str)
	status, _ = token(url.Values{"grant_type": {"password"}}, "s3cret")
	require.Equal(t, 400, status)
	status, body = token(url.Values{"grant_type": {"client_credentials"}, "client_secret": {"s3cret"}}, "")
	require.Equal(t, 200, status, body)

	began := time.Now()
	status, body = token(grant, "s3cret")
	require.Equal(t, 200, status)
	require.EqualValues(t, 1, gjson.Get(body, "expires_in").Int())
	key := gjson.Get(body, "access_token").Str
	require.NotEmpty(t, key)
	for _, header := range []string{"X-Api-Key", "Api-Key", "Authorization"} {
		value := key
		if header == "Authorization" {
			value = "Bearer " + key
		}
		status, body = ask(header, value)
		if time.Since(began) < lifetime {
			require.Equal(t, 200, status, body)
		}
	}
	require.Eventually(t, func() bool { status, body = ask("Authorization", "Bearer "+key); return status == 401 }, testLimit, 10*time.Millisecond)
	require.GreaterOrEqual(t, time.Since(began), lifetime)
	require.Contains(t, gjson.Get(body, "error.message").Str, key)
	status, body = ask("Authorization", "Bearer nobody's")
	require.Equal(t, 401, status)
	require.Contains(t, body, "Incorrect")
	reply, err := client.Get(s.URL + "/health")
	require.NoError(t, err)
	_ = reply.Body.Close()
	require.Equal(t, 200, reply.StatusCode)
}

func TestKeysThatExpireNeedASecret(t *testing.T) {
	_, err := Start(Config{KeyLifetime: time.Second})
	require.ErrorContains(t, err, "client secret")
	_, err = Start(Config{ClientSecret: "x"})
	require.ErrorContains(t, err, "lifetime")
}
