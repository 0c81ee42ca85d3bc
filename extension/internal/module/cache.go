package module

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/grafana/sobek"

	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/scrape"
	"github.com/tokenclock/tokenclock/extension/internal/shape"
)

// cacheOptions are the options of watchCache of index.d.ts.
type cacheOptions struct {
	URL      string            `js:"url"`
	Headers  map[string]string `js:"headers"`
	Counters []cacheCounter    `js:"counters"`
}

// cacheCounter names what a kind of server counts: prompt tokens found in a prefix cache (the sum of those of Hits that are
// served), and prompt tokens looked up.
type cacheCounter struct {
	Hits    []string `js:"hits"`
	Queries string   `js:"queries"`
}

// cacheWatch reads the server's own counters of its prefix cache when a level begins and ends. Between the two the level's
// requests are the load, as far as this process knows.
type cacheWatch struct {
	o      cacheOptions
	reader *scrape.Reader

	mu       sync.Mutex
	client   *http.Client
	failures int // one after the other
	first    *cacheCount
	last     *cacheCount // at the end of the last level; what begins next begins with it
	began    map[string]cacheCount
	over     map[string]bool
}

// cacheCount is the values of the counters.
type cacheCount struct {
	of            int // of the options' counters
	hits, queries float64
}

const (
	cacheTimeout = 5 * time.Second
	// A page that is not there costs one request; one that stopped answering, three timeouts.
	maxCacheFailures = 3
)

// watchCache is `watchCache(options)`: the first VU's words count.
func (i *instance) watchCache(v sobek.Value) {
	_, err := oncePerProcess(i.root, "cache", "", func() (*cacheWatch, error) {
		c := &cacheWatch{began: map[string]cacheCount{}, over: map[string]bool{}}
		if err := decode(i.vu.Runtime(), v, &c.o); err != nil {
			return nil, err
		}
		if c.o.URL == "" || len(c.o.Counters) == 0 {
			return nil, errors.New("url and counters are needed")
		}
		var names []string
		for _, counter := range c.o.Counters {
			names = append(append(names, counter.Hits...), counter.Queries)
		}
		selectors, err := scrape.ParseSelectors(names)
		c.reader = scrape.NewReader(selectors)
		return c, err
	})
	if err != nil {
		i.throw(fmt.Errorf("watchCache: %w", err))
	}
}

// cacheWatch returns the run's watch; nil = none was asked for.
func (r *Root) cacheWatch() *cacheWatch {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, _ := r.named["cache\x00"].(*cacheWatch)
	return c
}

// levelBegins reads the counters before the first request of a level. A level that has begun begins no more.
func (i *instance) levelBegins(level string) {
	i.root.pollNow()
	c := i.root.cacheWatch()
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, twice := c.began[level]; twice || c.over[level] {
		return
	}
	if c.client == nil {
		let, err := i.root.authorize(i.httpTransport(), c.o.Headers)
		if err != nil {
			return // a header that cannot be used has ended the run
		}
		c.client = &http.Client{Transport: let, Timeout: cacheTimeout}
	}
	if c.last == nil {
		c.last = c.read()
	}
	if c.last != nil {
		c.began[level] = *c.last
		if c.first == nil {
			c.first = c.last
		}
	}
}

// levelEnds reads the counters after the last request of a level, and hands the difference to the run's figures.
func (r *Root) levelEnds(level string) { r.levelsEnd(level) }

// levelsEnd is levelEnds of all levels that have begun; given a name, of that one.
func (r *Root) levelsEnd(only string) {
	r.pollNow()
	c := r.cacheWatch()
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var ended []string
	for level := range c.began {
		if !c.over[level] && (only == "" || level == only) {
			ended = append(ended, level)
		}
	}
	if len(ended) == 0 {
		return
	}
	c.last = c.read()
	run := r.current()
	for _, level := range ended {
		c.over[level] = true
		if d, ok := c.last.since(c.began[level]); ok {
			run.Tally().CacheCounted(level, d.hits, d.queries)
		}
	}
	if c.first != nil {
		if d, ok := c.last.since(*c.first); ok {
			run.Tally().CacheCounted("", d.hits, d.queries)
		}
	}
}

// since returns what was counted after an earlier reading. A server that looked nothing up is one without a prefix cache,
// or not the one that the load went to: nothing is known then. The same holds where it began to count anew.
func (c *cacheCount) since(from cacheCount) (d cacheCount, ok bool) {
	if c == nil || c.of != from.of {
		return cacheCount{}, false
	}
	d = cacheCount{c.of, c.hits - from.hits, c.queries - from.queries}
	return d, d.hits >= 0 && d.queries > 0
}

// read returns the counters; nil where the server does not show them. The caller holds c.mu.
func (c *cacheWatch) read() *cacheCount {
	if c.failures >= maxCacheFailures {
		return nil
	}
	counts, err := c.page()
	if err == nil {
		for k, counter := range c.o.Counters {
			queries, ok := counts[counter.Queries]
			hits, any := 0.0, false
			for _, name := range counter.Hits {
				if n, ok := counts[name]; ok {
					hits, any = hits+n, true
				}
			}
			if ok && any {
				c.failures = 0
				return &cacheCount{k, hits, queries}
			}
		}
	}
	if c.failures++; c.first == nil {
		c.failures = maxCacheFailures
	}
	return nil
}

// page returns the counters that the page shows, by name.
func (c *cacheWatch) page() (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), cacheTimeout)
	defer cancel()
	reply := httpDo(ctx, c.client, c.o.URL, fetchOptions{Method: http.MethodGet})
	c.client.CloseIdleConnections()
	if reply.Error != "" || reply.Status != http.StatusOK {
		return nil, fmt.Errorf("HTTP %d %s", reply.Status, reply.Error)
	}
	found, err := c.reader.Read([]byte(reply.Body))
	counts := map[string]float64{}
	for _, m := range found {
		if m.Kind != scrape.Histogram {
			counts[m.Name] = m.Value
		}
	}
	return counts, err
}

// watchStages reads the counters where one stage of a schedule follows another. Stages are not drained, so the requests at
// the border count to the one or the other.
func (i *instance) watchStages(ctx context.Context, stages []shape.Stage, zeroNs int64) {
	go func() {
		endNs := zeroNs
		for k, s := range stages[:len(stages)-1] {
			endNs += int64(s.DurationMs * 1e6)
			next := stages[k+1].Name
			if next == s.Name {
				continue // a warm-up's level is that of the stage behind it
			}
			timer := time.NewTimer(time.Duration(endNs - clock.Now()))
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
			i.root.levelEnds(s.Name)
			i.levelBegins(next)
		}
	}()
}
