package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// signer signs each request with AWS's Signature Version 4. Its keys renew the credentials.
type signer struct {
	AWS
	*keys
	v4 *v4.Signer
}

func newSigner(a AWS, k *keys) *signer { return &signer{AWS: a, keys: k, v4: v4.NewSigner()} }

// Authorize implements Credentials.
func (s *signer) Authorize(ctx context.Context, r Outgoing) ([]Field, uint64, error) {
	c, err := s.present(ctx)
	if err != nil {
		return nil, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, r.Scheme+"://"+r.Host+r.URI, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("the request cannot be signed: its address is no URL")
	}
	sum := sha256.Sum256(r.Body)
	if err := s.v4.SignHTTP(ctx, c.aws, req, hex.EncodeToString(sum[:]), s.Service, s.Region, s.now()); err != nil {
		return nil, 0, errors.New("the request cannot be signed")
	}
	fields := make([]Field, 0, 3)
	for _, name := range []string{"X-Amz-Date", "X-Amz-Security-Token", "Authorization"} {
		if value := req.Header.Get(name); value != "" {
			fields = append(fields, Field{name, value})
		}
	}
	return fields, c.generation, nil
}

// expiredToken is how AWS's services say that temporary credentials have expired: by the code of an error, ExpiredToken or
// ExpiredTokenException, or, where the code stands in a header only, by its sentence (AWS, "Common errors", HTTP 403; some
// services answer 400).
var expiredToken = regexp.MustCompile(`\bExpiredToken(Exception)?\b|security token included in the request is expired`)

// Refused implements Credentials. A 403 that says something else, such as a missing permission, is no matter of renewal.
func (s *signer) Refused(status int, body []byte) bool {
	switch status {
	case http.StatusUnauthorized:
		return true
	case http.StatusForbidden, http.StatusBadRequest:
		return expiredToken.Match(body)
	}
	return false
}

// environment is the source of credentials that do not change: the environment of a process is read once.
type environment struct{ key }

func keyOfEnvironment(env func(string) string) (environment, error) {
	if env == nil {
		env = os.Getenv
	}
	of := aws.Credentials{
		AccessKeyID: env("AWS_ACCESS_KEY_ID"), SecretAccessKey: env("AWS_SECRET_ACCESS_KEY"), SessionToken: env("AWS_SESSION_TOKEN"),
	}
	if !of.HasKeys() {
		return environment{}, errors.New("AWS_SERVICE is set, but AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not in the environment; " +
			"export them (and AWS_SESSION_TOKEN where they are temporary), or set API_KEY_COMMAND or API_KEY_FILE")
	}
	return environment{key{secret: of.SecretAccessKey, aws: of}}, nil
}

func (e environment) get(context.Context) (key, error) { return e.key, nil }
func (e environment) changed() bool                    { return false }

// processOutput is what a credential_process prints ("Sourcing credentials with an external process", AWS CLI User Guide;
// the SDKs take AccountId, too). Without an Expiration the credentials are taken for lasting ones.
type processOutput struct {
	Version         int
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      string
	AccountID       string `json:"AccountId"`
}

var processFields = []string{"Version", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration", "AccountId"}

// awsKey reads credentials in the JSON of a credential_process. Its errors hold nothing of the text.
func awsKey(text, from string) (key, error) {
	wrong := func(what string) (key, error) {
		return key{}, fmt.Errorf("%s gave no credentials of AWS: %s", from, what)
	}
	text = strings.TrimPrefix(text, "\ufeff")
	var given map[string]json.RawMessage
	var of processOutput
	if json.Unmarshal([]byte(text), &given) != nil || json.Unmarshal([]byte(text), &of) != nil {
		return wrong("it must be one JSON object with " + strings.Join(processFields, ", "))
	}
	for name := range given {
		if !slices.Contains(processFields, name) { // encoding/json takes names in any case
			return wrong("it has a field that is none of " + strings.Join(processFields, ", "))
		}
	}
	if of.Version != 1 {
		return wrong(fmt.Sprintf("Version is %d; it must be 1", of.Version))
	}
	out := key{aws: aws.Credentials{AccessKeyID: of.AccessKeyID, SecretAccessKey: of.SecretAccessKey, SessionToken: of.SessionToken}}
	for _, field := range []struct {
		name, value string
		needed      bool
	}{
		{"AccessKeyId", of.AccessKeyID, true},
		{"SecretAccessKey", of.SecretAccessKey, true},
		// Credentials that expire are temporary ones, which come with a token.
		{"SessionToken", of.SessionToken, of.Expiration != ""},
	} {
		if field.value == "" && !field.needed {
			continue
		}
		if _, err := checkKey(field.value, ""); err != nil {
			return wrong(field.name + " is missing or is not one word")
		}
	}
	if of.Expiration != "" {
		expires, err := time.Parse(time.RFC3339, of.Expiration)
		if err != nil {
			return wrong("Expiration is no time such as 2026-01-31T12:00:00Z")
		}
		out.expires = expires
	}
	out.secret = of.SecretAccessKey
	return out, nil
}
