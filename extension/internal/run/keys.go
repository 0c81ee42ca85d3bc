package run

import "fmt"

// WarnRefused says once that the server refuses the key, however many requests it refuses.
func (r *Run) WarnRefused(status int) {
	r.keyOnce.Do(func() {
		if r.env.Logger != nil {
			r.env.Logger.Warnf("tokenclock: the server answered HTTP %d: it refuses the key, or misses one; this is logged once, the results count how often", status)
		}
	})
}

// KeyRetried counts requests that were sent once more with another key.
func (r *Run) KeyRetried(n int) { r.keyRetries.Add(int64(n)) }

// keyNotes says what happened to the keys of a run.
func (r *Run) keyNotes() []string {
	if r.env.Credentials == nil {
		return nil
	}
	c := r.env.Credentials()
	if c == nil {
		return nil
	}
	var notes []string
	if n := c.Counts(); n.Renewals > 0 || n.Failed > 0 {
		notes = append(notes, fmt.Sprintf("the key was renewed %d times, and could not be %d times", n.Renewals, n.Failed))
	}
	if n := r.keyRetries.Load(); n > 0 {
		notes = append(notes, fmt.Sprintf("%d requests met a key that had just ended (HTTP 401) and were sent once more with another; "+
			"their latencies begin with the second send, those from the schedule hold both", n))
	}
	return notes
}
