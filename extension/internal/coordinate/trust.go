package coordinate

import (
	"crypto"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Runners and coordinator share one secret, the token. The coordinator's key follows from it, so that TLS needs no
// certificate authority: a runner trusts the one server that proves it has the key, and the server whoever sends the token.
// The key's public half is seen by everyone who connects, so a token must be too long to be guessed.

// leastToken is the length of a token that nobody tries out.
const leastToken = 24

// CheckToken refuses a token that could be guessed. The message does not show it.
func CheckToken(token string) error {
	if len(token) < leastToken {
		return fmt.Errorf("the token has %d characters; it must have at least %d, such as those of `openssl rand -hex 32`", len(token), leastToken)
	}
	return nil
}

// ReadToken returns the token of a file, or the given one where no file is named.
func ReadToken(file, given string) (string, error) {
	if file == "" {
		return given, nil
	}
	if given != "" {
		return "", errors.New("a token and a file with a token are given; give one of them")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("the token cannot be read: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func keyOf(token string) (ed25519.PrivateKey, error) {
	seed, err := hkdf.Key(sha256.New, []byte(token), nil, "tokenclock coordinator", ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// certificateOf makes the certificate of the token's key. Nobody looks at more of it than its key.
func certificateOf(token string) (tls.Certificate, error) {
	key, err := keyOf(token)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tokenclock coordinator"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

var errUntrusted = errors.New("the server has neither the key that belongs to the token nor a certificate that this host trusts; is it the coordinator, and the token the same?")

// clientTLS trusts the server that has the token's key, and one that a certificate authority of this host vouches for.
func clientTLS(token, host string) (*tls.Config, error) {
	key, err := keyOf(token)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: host,
		// Instead of, not without, a verification: VerifyConnection does it.
		InsecureSkipVerify: true, //nolint:gosec
		VerifyConnection: func(state tls.ConnectionState) error {
			leaf := state.PeerCertificates[0]
			if public, ok := leaf.PublicKey.(interface{ Equal(x crypto.PublicKey) bool }); ok && public.Equal(key.Public()) {
				return nil
			}
			roots := x509.VerifyOptions{DNSName: host, Intermediates: x509.NewCertPool()}
			for _, c := range state.PeerCertificates[1:] {
				roots.Intermediates.AddCert(c)
			}
			if _, err := leaf.Verify(roots); err != nil {
				return fmt.Errorf("%w (%w)", errUntrusted, err)
			}
			return nil
		},
	}, nil
}

// checkAddress refuses an address to which token and records would go unprotected.
func checkAddress(address, token string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Path != "" && u.Path != "/" {
		return nil, fmt.Errorf("COORDINATOR=%s is not an address such as https://coordinator:7431", redact(address))
	}
	if u.Scheme == "https" {
		if err := CheckToken(token); err != nil {
			return nil, fmt.Errorf("COORDINATOR=%s: %w; set COORDINATOR_TOKEN or COORDINATOR_TOKEN_FILE", redact(address), err)
		}
		return u, nil
	}
	if !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("COORDINATOR=%s: without TLS token and records can be read on their way; use https://, or a loopback address", redact(address))
	}
	return u, nil
}

func redact(address string) string {
	if u, err := url.Parse(address); err == nil {
		return u.Redacted()
	}
	return "(no address)"
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// guarded lets nobody in who does not send the token. "" = nobody needs one.
func guarded(token string, next http.Handler) http.Handler {
	if token == "" {
		return next
	}
	want := sha256.Sum256([]byte("Bearer " + token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := sha256.Sum256([]byte(r.Header.Get("Authorization"))); subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			refuse(w, http.StatusUnauthorized, "the token is missing or another one")
			return
		}
		next.ServeHTTP(w, r)
	})
}
