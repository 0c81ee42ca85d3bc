package simulate

import (
	"crypto/rand"
	"encoding/base64"
	"net/url"
	"strings"
	"time"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
)

// issuer gives keys to clients that know the secret, and asks every request for one that has not expired. It belongs to
// the loop.
type issuer struct {
	secret     string
	lifetimeNs int64
	unstated   bool
	ends       map[string]int64 // of each key given out
}

func newIssuer(c Config) *issuer {
	return &issuer{secret: c.ClientSecret, lifetimeNs: int64(c.KeyLifetime), unstated: c.KeyUnstated, ends: map[string]int64{}}
}

const pathToken = "/oauth/token"

// admit reports whether the request may be served; else it has answered it, before any work began.
func (i *issuer) admit(c *conn, r *request) bool {
	switch r.path {
	case pathToken:
		if c.srv.allow(c, r, "POST") {
			i.serve(c, r)
		}
		return false
	case "/health", "/ping", "/metrics", "/metrics/", "/truth", "/reset", "/version":
		return true
	}
	key := string(r.key)
	endNs, known := i.ends[key]
	switch {
	case key == "":
		i.refuse(c, "You didn't provide an API key.")
	case !known:
		i.refuse(c, "Incorrect API key provided: "+key+".")
	case clock.Now() >= endNs:
		i.refuse(c, "The API key "+key+" has expired.")
	default:
		return true
	}
	return false
}

// refuse answers as OpenAI's servers do, which quote the key.
func (i *issuer) refuse(c *conn, message string) {
	c.replyJSON(401, map[string]any{"error": map[string]any{"message": message, "type": "invalid_request_error", "param": nil, "code": "invalid_api_key"}})
}

// serve is the token endpoint of the client credentials grant (RFC 6749, 4.4). The client's name may be any.
func (i *issuer) serve(c *conn, r *request) {
	form, _ := url.ParseQuery(string(r.body))
	secret := form.Get("client_secret")
	if basic, err := base64.StdEncoding.DecodeString(string(r.basic)); err == nil && len(basic) > 0 {
		_, password, _ := strings.Cut(string(basic), ":")
		secret, _ = url.QueryUnescape(password) // RFC 6749, 2.3.1
	}
	switch {
	case form.Get("grant_type") != "client_credentials":
		c.replyJSON(400, map[string]any{"error": "unsupported_grant_type"})
	case secret != i.secret:
		c.replyJSON(401, map[string]any{"error": "invalid_client"})
	default:
		key := "sim-" + rand.Text()
		i.ends[key] = clock.Now() + i.lifetimeNs
		reply := map[string]any{"access_token": key, "token_type": "Bearer"}
		if !i.unstated {
			reply["expires_in"] = max(1, int64(time.Duration(i.lifetimeNs)/time.Second))
		}
		c.replyJSON(200, reply)
	}
}
