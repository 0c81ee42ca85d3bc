package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// oauth gets tokens by the client credentials grant.
type oauth struct {
	o      OAuth
	client *http.Client
	secret atomic.Pointer[string]
}

// newOAuth returns the source. Its client follows no redirect: the request holds the secret, also in its body.
func newOAuth(o OAuth, client *http.Client) *oauth {
	direct := *client
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &oauth{o: o, client: &direct}
}

// errorCode is what RFC 6749, 5.2 calls an error. Other words of the server's may quote the request.
var errorCode = regexp.MustCompile(`^[a-z_]{1,40}$`)

func (s *oauth) get(ctx context.Context) (key, error) {
	secret := s.o.ClientSecret
	if s.o.SecretFile != "" {
		text, _, err := readSecret(s.o.SecretFile, "OAUTH_CLIENT_SECRET_FILE")
		if err != nil {
			return key{}, err
		}
		if secret = strings.TrimSpace(text); secret == "" {
			return key{}, errors.New("the file of OAUTH_CLIENT_SECRET_FILE is empty")
		}
	}
	s.secret.Store(&secret)
	config := clientcredentials.Config{
		ClientID: s.o.ClientID, ClientSecret: secret, TokenURL: s.o.TokenURL, Scopes: strings.Fields(s.o.Scope),
	}
	if s.o.Audience != "" {
		config.EndpointParams = url.Values{"audience": {s.o.Audience}}
	}
	t, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, s.client))
	if err != nil {
		return key{}, fmt.Errorf("OAUTH_TOKEN_URL: %w", reasonOf(ctx, err))
	}
	token, err := checkKey(t.AccessToken, "the token endpoint of OAUTH_TOKEN_URL")
	return key{secret: token, expires: t.Expiry}, err
}

// reasonOf leaves out of an error what may hold a secret: the address, and the server's words but for its error code.
func reasonOf(ctx context.Context, err error) error {
	var refused *oauth2.RetrieveError
	var of *url.Error
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("no answer within %s", getTimeout)
	case errors.As(err, &refused) && errorCode.MatchString(refused.ErrorCode):
		return fmt.Errorf("the token endpoint answered HTTP %d, %s", refused.Response.StatusCode, refused.ErrorCode)
	case errors.As(err, &refused) && refused.Response != nil && refused.Response.StatusCode/100 == 3:
		return fmt.Errorf("the token endpoint answered HTTP %d: it redirects, which is not followed", refused.Response.StatusCode)
	case errors.As(err, &refused) && refused.Response != nil:
		return fmt.Errorf("the token endpoint answered HTTP %d", refused.Response.StatusCode)
	case errors.As(err, &of):
		return of.Err
	}
	return errors.New("the token endpoint's answer holds no access_token")
}

func (s *oauth) changed() bool { return false }

func (s *oauth) secrets() []string {
	if secret := s.secret.Load(); secret != nil {
		return []string{*secret}
	}
	return []string{s.o.ClientSecret}
}
