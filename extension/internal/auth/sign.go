package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// signer signs each request with AWS's Signature Version 4.
type signer struct {
	AWS
	credentials aws.Credentials
	v4          *v4.Signer
	now         func() time.Time
}

func newSigner(a AWS, env func(string) string) (*signer, error) {
	if env == nil {
		env = os.Getenv
	}
	s := &signer{AWS: a, v4: v4.NewSigner(), now: time.Now, credentials: aws.Credentials{
		AccessKeyID: env("AWS_ACCESS_KEY_ID"), SecretAccessKey: env("AWS_SECRET_ACCESS_KEY"), SessionToken: env("AWS_SESSION_TOKEN"),
	}}
	if a.Service == "" || a.Region == "" {
		return nil, errors.New("AWS_SERVICE and AWS_REGION go together; set both")
	}
	if !s.credentials.HasKeys() {
		return nil, errors.New("AWS_SERVICE is set, but AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not in the environment; " +
			"export them (and AWS_SESSION_TOKEN where they are temporary)")
	}
	return s, nil
}

func (s *signer) Ready() bool { return true }

func (s *signer) Authorize(ctx context.Context, r Outgoing) ([]Field, uint64, error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, r.Scheme+"://"+r.Host+r.URI, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("the request cannot be signed: its address is no URL")
	}
	sum := sha256.Sum256(r.Body)
	if err := s.v4.SignHTTP(ctx, s.credentials, req, hex.EncodeToString(sum[:]), s.Service, s.Region, s.now()); err != nil {
		return nil, 0, errors.New("the request cannot be signed")
	}
	fields := make([]Field, 0, 3)
	for _, name := range []string{"X-Amz-Date", "X-Amz-Security-Token", "Authorization"} {
		if value := req.Header.Get(name); value != "" {
			fields = append(fields, Field{name, value})
		}
	}
	return fields, 1, nil
}

// Renew implements Credentials: the environment of a process does not change.
func (s *signer) Renew(context.Context, uint64) bool { return false }

func (s *signer) Secrets() []string {
	return []string{s.credentials.SecretAccessKey, s.credentials.SessionToken, s.credentials.AccessKeyID}
}

func (s *signer) Counts() Counts { return Counts{} }
func (s *signer) Close()         {}
