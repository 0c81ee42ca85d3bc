package auth

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var signed = Outgoing{Method: "POST", Scheme: "https", Host: "bedrock-runtime.eu-west-1.amazonaws.com", URI: "/model/m/converse"}

// processJSON is what a credential_process prints.
func processJSON(n int, expiration string) string {
	return fmt.Sprintf(`{"Version":1,"AccessKeyId":"ASIA%d","SecretAccessKey":"%s-%d","SessionToken":"session-%d","Expiration":%q}`, n, secret, n, n, expiration)
}

func TestAWS_CredentialsOfAFileAreReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials")
	write := func(text string) {
		require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	soon := time.Now().Add(2 * time.Second).UTC()
	write(processJSON(1, soon.Format(time.RFC3339Nano)))
	c, err := New(Spec{File: path, AWS: &AWS{Service: "bedrock", Region: "eu-west-1"}}, Options{Env: func(string) string { return "" }})
	require.NoError(t, err)
	defer c.Close()
	sign := func() (token, authorization string, generation uint64) {
		fields, generation, err := c.Authorize(t.Context(), signed)
		require.NoError(t, err)
		for _, f := range fields {
			switch f.Name {
			case "X-Amz-Security-Token":
				token = f.Value
			case "Authorization":
				authorization = f.Value
			}
		}
		return token, authorization, generation
	}
	token, authorization, generation := sign()
	require.Equal(t, "session-1", token)
	require.Contains(t, authorization, "Credential=ASIA1/")
	require.WithinDuration(t, soon, c.(*signer).current.Load().expires, time.Millisecond)
	require.False(t, c.Renew(t.Context(), generation), "they are the same")

	write(processJSON(2, time.Now().Add(time.Hour).UTC().Format(time.RFC3339)))
	require.Eventually(t, func() bool { token, _, _ := sign(); return token == "session-2" }, 20*time.Second, 10*time.Millisecond)
	_, authorization, second := sign()
	require.Contains(t, authorization, "Credential=ASIA2/")
	require.Equal(t, generation+1, second)
	for _, hidden := range []string{secret + "-1", "session-1", "ASIA1", secret + "-2", "session-2", "ASIA2"} {
		require.Contains(t, c.Secrets(), hidden)
	}
	require.Equal(t, Counts{Renewals: 1}, c.Counts())
}

func TestAWS_WhatIsNoCredentialsIsRefused(t *testing.T) {
	good := processJSON(1, "2030-01-31T12:00:00+02:00")
	got, err := awsKey(" "+good+"\n", "x")
	require.NoError(t, err)
	require.True(t, got.expires.Equal(time.Date(2030, 1, 31, 10, 0, 0, 0, time.UTC)))
	lasting, err := awsKey(`{"Version":1,"AccessKeyId":"AKIA","SecretAccessKey":"s"}`, "x")
	require.NoError(t, err, "keys of a user do not expire, and have no token")
	require.True(t, lasting.expires.IsZero())
	_, err = awsKey(strings.Replace(good, `"Version":1`, `"Version":1,"AccountId":"1"`, 1), "x")
	require.NoError(t, err)
	for want, text := range map[string]string{
		"one JSON object":                     secret,
		"JSON object":                         good + good,
		"JSON object with":                    "[" + good + "]",
		"one JSON object with Version":        strings.Replace(good, `"session-1"`, "7", 1),
		"Version is 2":                        strings.Replace(good, `"Version":1`, `"Version":2`, 1),
		"Version is 0":                        strings.Replace(good, `"Version":1,`, "", 1),
		"a field that is none of Version":     strings.Replace(good, "{", `{"Token":"x",`, 1),
		"a field that is none of":             strings.Replace(good, "SessionToken", "sessiontoken", 1),
		"AccessKeyId is missing":              strings.Replace(good, `"AccessKeyId":"ASIA1",`, "", 1),
		"SecretAccessKey is missing":          strings.Replace(good, secret+"-1", "", 1),
		"SessionToken is missing":             strings.Replace(good, `"session-1"`, "null", 1),
		"SessionToken is missing or":          strings.Replace(good, "session-1", "two words", 1),
		"Expiration is no time such as":       strings.Replace(good, "2030-01-31T12:00:00+02:00", "tomorrow", 1),
		"the file gave no credentials of AWS": strings.Replace(good, "2030-01-31T12:00:00+02:00", "2030-01-31", 1),
	} {
		_, err := awsKey(text, "the file")
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), secret)
		require.NotContains(t, err.Error(), "session-1")
	}
}

func TestAWS_OnlyExpiredCredentialsAreRenewed(t *testing.T) {
	c, err := New(Spec{Command: "x", AWS: &AWS{Service: "bedrock", Region: "eu-west-1"}}, Options{})
	require.NoError(t, err)
	defer c.Close()
	for body, want := range map[string]bool{
		`{"message":"The security token included in the request is expired"}`:             true,
		`{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"expired"}`: true,
		`<Error><Code>ExpiredToken</Code></Error>`:                                        true,
		`{"message":"User is not authorized to perform: bedrock:InvokeModel"}`:            false,
		`{"message":"Signature expired: 20150830T123600Z is now earlier than ..."}`:       false,
		`{"message":"The security token included in the request is invalid."}`:            false,
		``: false,
	} {
		require.Equal(t, want, c.Refused(http.StatusForbidden, []byte(body)), body)
		require.Equal(t, want, c.Refused(http.StatusBadRequest, []byte(body)), body)
		require.False(t, c.Refused(http.StatusTooManyRequests, []byte(body)), body)
		require.False(t, c.Refused(http.StatusOK, []byte(body)), body)
		require.True(t, c.Refused(http.StatusUnauthorized, []byte(body)), body)
	}
}
