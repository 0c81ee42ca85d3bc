// Package auth authorizes requests by keys that expire, or by AWS's signature. A key is renewed ahead of its end in the
// background, by one renewal at a time for all virtual users, so that no request waits while the present key is valid.
// Nothing here writes a secret: errors name the setting and the reason, never what a command, a file or a server said.
package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Field is one header line.
type Field struct{ Name, Value string }

// Outgoing is what a signature covers of a request.
type Outgoing struct {
	Method, Scheme, Host string
	URI                  string // path and query, as in the request line
	Body                 []byte
	Keyed                []Field // the headers that carry the key, Placeholder where it stands
}

// Credentials authorize requests. Its methods may be called by several goroutines.
type Credentials interface {
	// Ready reports whether Authorize returns at once.
	Ready() bool
	// Authorize returns the header fields of one request, and the number of the key in them. It waits only where there is no
	// key yet or the present one has expired. The error of a key that cannot be had holds no secret.
	Authorize(ctx context.Context, r Outgoing) (fields []Field, generation uint64, err error)
	// Refused reports whether a response with this status and body refuses the key itself, so that another one may do.
	Refused(status int, body []byte) bool
	// Renew is called when the server refused the key of that number. It reports whether there is another key, and
	// waits for one that is on its way.
	Renew(ctx context.Context, generation uint64) bool
	// Secrets returns what must be blotted out of messages.
	Secrets() []string
	// Counts returns what happened so far.
	Counts() Counts
	// Close ends what runs in the background.
	Close()
}

// Counts is what happened to the keys of a run.
type Counts struct {
	Renewals int64 // keys that took the place of an earlier one
	Failed   int64 // attempts to get one that failed
}

// Spec says where keys come from. One of File, Command and OAuth is set; or AWS, alone or with one of File and Command.
type Spec struct {
	File       string  `js:"file"`
	Command    string  `js:"command"`
	LifetimeMs float64 `js:"lifetimeMs"` // of a key that does not tell its end; 0 = not known
	OAuth      *OAuth  `js:"oauth"`
	AWS        *AWS    `js:"aws"`
}

// OAuth is a client of the client credentials grant (RFC 6749, 4.4).
type OAuth struct {
	TokenURL     string `js:"tokenUrl"`
	ClientID     string `js:"clientId"`
	ClientSecret string `js:"clientSecret"`
	SecretFile   string `js:"secretFile"` // instead of ClientSecret; read at each renewal
	Scope        string `js:"scope"`      // several are separated by spaces
	Audience     string `js:"audience"`
}

// AWS signs requests with Signature Version 4. The credentials come from the file or the command of the Spec, in the JSON of
// AWS's credential_process, else from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary ones,
// AWS_SESSION_TOKEN.
type AWS struct {
	Service string `js:"service"`
	Region  string `js:"region"`
}

// Options are what New needs beside the Spec.
type Options struct {
	HTTP *http.Client // reaches the token endpoint
	Warn func(string) // called once when renewals begin to fail; nil = no one
	Env  func(string) string
}

// New checks the spec and returns its credentials. No key is asked for before the first request.
func New(s Spec, o Options) (Credentials, error) {
	parse := plainKey
	if s.AWS != nil {
		if s.AWS.Service == "" || s.AWS.Region == "" {
			return nil, errors.New("AWS_SERVICE and AWS_REGION go together; set both")
		}
		parse = awsKey
	}
	var from source
	switch {
	case s.File != "":
		from = &file{path: s.File, parse: parse}
	case s.Command != "":
		from = command{s.Command, parse}
	case s.AWS != nil:
		fixed, err := keyOfEnvironment(o.Env)
		if err != nil {
			return nil, err
		}
		from = fixed
	case s.OAuth != nil:
		if o.HTTP == nil {
			o.HTTP = http.DefaultClient
		}
		from = newOAuth(*s.OAuth, o.HTTP)
	default:
		return nil, errors.New("no source of keys is named")
	}
	k := &keys{from: from, lifetime: time.Duration(s.LifetimeMs * 1e6), warn: o.Warn, now: time.Now}
	if s.AWS != nil {
		return newSigner(*s.AWS, k), nil
	}
	return k, nil
}

// Placeholder stands for the key in a header's value.
const Placeholder = "{{key}}"

// key is one key with its end; a zero time is one that is not known.
type key struct {
	secret  string
	expires time.Time
	aws     aws.Credentials // where requests are signed; secret is the secret access key then
}

// same reports whether two keys are one, whatever is known of their end.
func (k key) same(other key) bool {
	return k.secret == other.secret && k.aws.AccessKeyID == other.aws.AccessKeyID && k.aws.SessionToken == other.aws.SessionToken
}

// secrets are what must not be shown of a key.
func (k key) secrets() []string {
	out := []string{k.secret}
	for _, more := range []string{k.aws.SessionToken, k.aws.AccessKeyID} {
		if more != "" {
			out = append(out, more)
		}
	}
	return out
}

// source gets keys from where they are kept.
type source interface {
	// get returns the present key. ctx bounds it.
	get(ctx context.Context) (key, error)
	// changed reports whether get would, as far as can be told cheaply, return another key than the last time.
	changed() bool
	// secrets are its own, beside the keys.
	secrets() []string
}

// plainKey is the key that a text of `from` is.
func plainKey(text, from string) (key, error) {
	secret, err := checkKey(text, from)
	return key{secret: secret}, err
}

// checkKey returns the key in a text that came from a file or a command: one word of visible ASCII. A text with blanks is
// a message or several keys, and would be sent to the server.
func checkKey(text, from string) (string, error) {
	text = strings.TrimSpace(strings.TrimPrefix(text, "\ufeff"))
	if text == "" {
		return "", fmt.Errorf("%s gave no key: it is empty", from)
	}
	for i := range len(text) {
		if b := text[i]; b <= ' ' || b >= 0x7f {
			return "", fmt.Errorf("%s gave no key: it must be one word of ASCII, without blanks or line breaks within", from)
		}
	}
	return text, nil
}

// expiry returns the end of a key that is a JSON Web Token with the claim exp (RFC 7519, 4.1.4); the zero time for any other.
func expiry(secret string) time.Time {
	parts := strings.Split(secret, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Exp <= 0 || claims.Exp > 1e11 {
		return time.Time{}
	}
	return time.UnixMilli(int64(claims.Exp * 1000))
}
