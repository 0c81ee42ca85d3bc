package client

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
)

// hidden stands where a secret was.
const hidden = "****"

// Redact returns the address without the user and password it may name, for messages and tags. It need not be a URL: in
// what cannot be read, all from the scheme to the last @ counts as one of them.
func Redact(address string) string {
	scheme, rest, ok := strings.Cut(address, "://")
	if ok {
		scheme += "://"
	} else {
		scheme, rest = "", address
	}
	end := len(rest)
	if _, err := url.Parse(address); ok && err == nil {
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			end = i // an @ in a path is none of a user's
		}
	}
	at := strings.LastIndexByte(rest[:end], '@')
	if at < 0 {
		return address
	}
	return scheme + hidden + rest[at:]
}

// basicAuthorization is the value of Authorization for the user in a URL (RFC 7617); "" without one.
func basicAuthorization(u *url.Userinfo) string {
	if u == nil {
		return ""
	}
	password, _ := u.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password))
}

// secretNames are parts of the names of headers whose values are not for others' eyes.
var secretNames = []string{"auth", "key", "token", "secret", "cookie", "password", "credential"}

// secretMin is the length from which a value is taken for a secret: shorter ones would blot out words of the message.
const secretMin = 6

// withoutSecrets blots out of a message what a server or a library may have quoted of the request's credentials.
func (c *Client) withoutSecrets(message string, more []Field) string {
	if message == "" {
		return message
	}
	for _, fields := range [][]Field{c.o.Header, more} {
		for _, f := range fields {
			name := strings.ToLower(f.Name)
			if slices.ContainsFunc(secretNames, func(part string) bool { return strings.Contains(name, part) }) {
				message = blotOut(message, f.Value)
				if _, credentials, ok := strings.Cut(f.Value, " "); ok {
					message = blotOut(message, credentials) // without its scheme: Bearer, Basic
				}
			}
		}
	}
	if c.o.Credentials != nil {
		for _, secret := range c.o.Credentials.Secrets() {
			message = blotOut(message, secret)
		}
	}
	if t := c.t.authorization; t != "" {
		message = blotOut(message, strings.TrimPrefix(t, "Basic "))
		password, _ := c.t.url.User.Password()
		message = blotOut(message, password)
	}
	if p := c.t.proxy; p != nil && p.User != nil {
		message = blotOut(message, strings.TrimPrefix(basicAuthorization(p.User), "Basic "))
		password, _ := p.User.Password()
		message = blotOut(message, password)
	}
	return message
}

func blotOut(message, secret string) string {
	secret = strings.TrimSpace(secret)
	if len(secret) < secretMin {
		return message
	}
	message = strings.ReplaceAll(message, secret, hidden)
	// Messages are cut at some length, so the last of it may be a part of the secret.
	body, dots := strings.CutSuffix(message, "...")
	for n := min(len(secret)-1, len(body)); n >= secretMin; n-- {
		if rest, ok := strings.CutSuffix(body, secret[:n]); ok {
			message = rest + hidden
			if dots {
				message += "..."
			}
			break
		}
	}
	return message
}
