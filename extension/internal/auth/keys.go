package auth

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// ahead is how long before its end a key is renewed, or a fifth of its life where that is shorter.
	ahead = time.Minute
	// lookAgain is how often a file is looked at.
	lookAgain = time.Second
	// getTimeout bounds one attempt to get a key.
	getTimeout = 30 * time.Second
	// restAfterRenewal is the least time between two renewals: a server that refuses every key must not have a command run for
	// each of its answers.
	restAfterRenewal = 500 * time.Millisecond
	// firstBackoff and longestBackoff bound the pause after a failed attempt.
	firstBackoff, longestBackoff = time.Second, 30 * time.Second
	// keptSecrets is how many secrets of the last keys are blotted out of messages: answers to older ones are long over.
	keptSecrets = 48
)

// keys hold the present key of a source and renew it.
type keys struct {
	from     source
	lifetime time.Duration
	warn     func(string)
	now      func() time.Time

	current          atomic.Pointer[issued]
	renewals, failed atomic.Int64

	mu        sync.Mutex
	flight    *flight
	notBefore time.Time // no attempt is made before it
	failures  int       // one after the other
	recent    []string
	timer     *time.Timer
	closed    bool
}

// issued is a key that is or was in use.
type issued struct {
	key
	generation uint64
	renewAt    time.Time // zero = only when it is refused
}

// flight is an attempt to get a key, for all who wait for it.
type flight struct {
	done    chan struct{}
	cancel  context.CancelFunc
	renewed bool
	err     error
}

// Ready implements Credentials.
func (k *keys) Ready() bool {
	c := k.current.Load()
	return c != nil && (c.expires.IsZero() || k.now().Before(c.expires))
}

// Authorize implements Credentials.
func (k *keys) Authorize(ctx context.Context, r Outgoing) ([]Field, uint64, error) {
	c, err := k.present(ctx)
	if err != nil {
		return nil, 0, err
	}
	fields := make([]Field, len(r.Keyed))
	for i, f := range r.Keyed {
		fields[i] = Field{f.Name, strings.ReplaceAll(f.Value, Placeholder, c.secret)}
	}
	return fields, c.generation, nil
}

// Refused implements Credentials.
func (k *keys) Refused(status int, _ []byte) bool { return status == http.StatusUnauthorized }

// present returns the key to send. Where an expired one cannot be renewed, it is sent all the same: the server's clock decides.
func (k *keys) present(ctx context.Context) (*issued, error) {
	c := k.current.Load()
	if c == nil || !k.Ready() {
		var generation uint64
		if c != nil {
			generation = c.generation
		}
		f := k.begin(generation)
		if f != nil {
			select {
			case <-f.done:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if c = k.current.Load(); c == nil {
			if f == nil {
				return nil, fmt.Errorf("no key: an attempt to get one failed just before")
			}
			return nil, fmt.Errorf("no key: %w", f.err)
		}
	} else if !c.renewAt.IsZero() && !k.now().Before(c.renewAt) {
		k.begin(c.generation) // the timer may be late
	}
	return c, nil
}

// Renew implements Credentials.
func (k *keys) Renew(ctx context.Context, generation uint64) bool {
	f := k.begin(generation)
	if f == nil {
		c := k.current.Load()
		return c != nil && c.generation > generation
	}
	select {
	case <-f.done:
		return f.renewed
	case <-ctx.Done():
		return false
	}
}

// begin returns the attempt to get a key that follows the one of that number: the one under way, or a new one. nil: there
// is another key already, or it is too soon for an attempt.
func (k *keys) begin(generation uint64) *flight {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c := k.current.Load(); k.closed || c != nil && c.generation > generation {
		return nil
	}
	if k.flight != nil {
		return k.flight
	}
	if k.now().Before(k.notBefore) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), getTimeout)
	f := &flight{done: make(chan struct{}), cancel: cancel}
	k.flight = f
	go func() {
		defer cancel()
		began := k.now()
		got, err := k.from.get(ctx)
		k.land(f, began, got, err)
	}()
	return f
}

// land takes over what an attempt came to.
func (k *keys) land(f *flight, began time.Time, got key, err error) {
	k.mu.Lock()
	now := k.now()
	last := k.current.Load()
	warning := ""
	if f.err = err; err != nil {
		k.failed.Add(1)
		k.notBefore = now.Add(min(firstBackoff<<min(k.failures, 10), longestBackoff))
		if k.failures++; k.failures == 1 && last != nil && !k.closed {
			warning = fmt.Sprintf("tokenclock: the key could not be renewed: %v; it is tried again", err)
		}
	} else {
		k.failures = 0
		k.notBefore = now.Add(restAfterRenewal)
		if got.expires.IsZero() {
			got.expires = expiry(got.secret)
		}
		if same := last != nil && last.same(got); !same || !got.expires.Equal(last.expires) {
			next := &issued{key: got, generation: 1}
			if got.expires.IsZero() && k.lifetime > 0 {
				next.expires = began.Add(k.lifetime)
				if same {
					next.expires = last.expires // it is the same old key
				}
			}
			if last != nil {
				next.generation = last.generation
			}
			if !same {
				next.generation++
				f.renewed = true
				if last != nil {
					k.renewals.Add(1)
				}
				k.recent = append(k.recent, got.secrets()...)
				k.recent = k.recent[max(0, len(k.recent)-keptSecrets):]
			}
			k.current.Store(next)
		}
	}
	k.flight = nil
	k.plan(now)
	k.mu.Unlock()
	if warning != "" && k.warn != nil {
		k.warn(warning) // before those who wait go on
	}
	close(f.done)
}

// plan sets the timer of the next renewal. The caller holds k.mu.
func (k *keys) plan(now time.Time) {
	if k.closed {
		return
	}
	c := k.current.Load()
	if c == nil {
		return // asked for by the next request
	}
	if !c.expires.IsZero() && !now.Before(c.renewAt) { // the zero time is past, too
		left := c.expires.Sub(now)
		planned := *c
		planned.renewAt = now.Add(left - min(ahead, left/5))
		if !c.renewAt.IsZero() {
			// The source still gives the old key, as caches of tokens do until shortly before its end.
			planned.renewAt = now.Add(max(left/2, lookAgain))
		}
		k.current.Store(&planned)
		c = &planned
	}
	wait := time.Duration(-1)
	if !c.renewAt.IsZero() {
		wait = max(c.renewAt.Sub(now), 0)
		if k.failures > 0 {
			wait = max(k.notBefore.Sub(now), 0)
		}
	}
	if _, watched := k.from.(*file); watched && (wait < 0 || wait > lookAgain) {
		wait = lookAgain
	}
	if wait < 0 {
		return
	}
	if k.timer != nil {
		k.timer.Stop()
	}
	k.timer = time.AfterFunc(wait, k.renewIfDue)
}

// renewIfDue is called by the timer.
func (k *keys) renewIfDue() {
	c := k.current.Load()
	if due := !c.renewAt.IsZero() && !k.now().Before(c.renewAt); due || k.from.changed() {
		if k.begin(c.generation) != nil {
			return // its landing plans on
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.flight == nil {
		k.plan(k.now())
	}
}

// Secrets implements Credentials.
func (k *keys) Secrets() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append(slices.Clone(k.recent), k.from.secrets()...)
}

// Counts implements Credentials.
func (k *keys) Counts() Counts { return Counts{k.renewals.Load(), k.failed.Load()} }

// Close implements Credentials.
func (k *keys) Close() {
	k.mu.Lock()
	k.closed = true
	if k.timer != nil {
		k.timer.Stop()
	}
	f := k.flight
	k.mu.Unlock()
	if f != nil {
		f.cancel()
		<-f.done
	}
}
