package client

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// misbehave answers as the request's body asks.
func misbehave(w net.Conn, body []byte, n int) bool {
	whole := streamHead + token("a") + token("b") + token("c") + chunk(lastEvents) + "0\r\n\r\n"
	switch kind, _, _ := strings.Cut(string(body), " "); kind {
	case "whole", "raced":
		_, err := io.WriteString(w, whole)
		return err == nil
	case "pieces": // cut anywhere, so that ends come with, before and after what makes them known
		rng := rand.New(rand.NewPCG(9, uint64(n)))
		for rest := whole; rest != ""; {
			piece := 1 + rng.IntN(min(len(rest), 200))
			if _, err := io.WriteString(w, rest[:piece]); err != nil {
				return false
			}
			rest = rest[piece:]
		}
		return true
	case "closed": // without saying so
		_, _ = io.WriteString(w, whole)
	case "reset":
		_, _ = io.WriteString(w, streamHead+token("a"))
		_ = w.(*net.TCPConn).SetLinger(0)
	case "cut":
		_, _ = io.WriteString(w, streamHead+token("a"))
	case "held":
		_, _ = io.WriteString(w, streamHead+token("a"))
		_, _ = w.Read(make([]byte, 1)) // until the client is gone
	}
	return false
}

func TestStress_EveryRequestEndsOnceAndAsItWasAnswered(t *testing.T) {
	// A wake-up that is lost shows as a timeout, an end that meets another request as the wrong class.
	kinds := []struct {
		body string
		want []stream.Failure
	}{
		{"whole", []stream.Failure{stream.None}},
		{"pieces", []stream.Failure{stream.None}},
		{"closed", []stream.Failure{stream.None}},
		{"reset", []stream.Failure{stream.Reset}},
		{"cut", []stream.Failure{stream.Truncated}},
		{"held aborted", []stream.Failure{stream.Aborted}},
		{"held cancelled", []stream.Failure{stream.Interrupted}},
		{"raced aborted", []stream.Failure{stream.None, stream.Aborted}},
		{"raced cancelled", []stream.Failure{stream.None, stream.Interrupted}},
	}
	const users, each = 8, 60
	modes(t, func(t *testing.T, streamed bool) {
		s := serve(t, listen(t), misbehave)
		var all sync.WaitGroup
		for u := range users {
			c := newClient(t, "http://"+s.Addr().String()+"/v1/completions", func(o *Options) {
				o.Streamed = streamed
				o.TimeoutNs = int64(60 * time.Second)
			})
			c.raceFloorNs = int64(time.Minute) // however late this machine runs the server
			rng := rand.New(rand.NewPCG(7, uint64(u)))
			all.Go(func() {
				for range each {
					kind := kinds[rng.IntN(len(kinds))]
					ctx, cancel := context.WithCancel(t.Context())
					r := &Request{Body: []byte(kind.body)}
					soon := time.Duration(rng.IntN(3_000_000))
					if strings.HasSuffix(kind.body, "aborted") {
						r.AbortAfterNs = int64(soon) + 1
					} else if strings.HasSuffix(kind.body, "cancelled") {
						time.AfterFunc(soon, cancel)
					}
					ends := make(chan *Measurement, 2)
					if rng.IntN(2) == 0 {
						ends <- c.Do(ctx, r)
					} else {
						c.Prepare(ctx, r).Send(ctx, func(m *Measurement) { ends <- m })
					}
					m := <-ends
					assert.Contains(t, kind.want, m.Failure, "%s: %s", kind.body, m.Message)
					if m.Failure == stream.None {
						assert.Equal(t, 3, m.OutputTokens)
						assert.Len(t, m.Arrivals, 3)
					}
					m.Release()
					cancel()
					assert.Empty(t, ends, "it ended twice")
				}
			})
		}
		all.Wait()
	})
}
