package client

import (
	"context"
	"sync"
)

// prepareWidth bounds how many connections are opened at the same time.
const prepareWidth = 64

// PrepareAll prepares several requests at the same time.
func (c *Client) PrepareAll(ctx context.Context, requests []*Request) []Prepared {
	prepared := make([]Prepared, len(requests))
	inParallel(len(requests), prepareWidth, func(k int) { prepared[k] = c.Prepare(ctx, requests[k]) })
	return prepared
}

// CheckAll checks the connections of prepared requests at the same time.
func CheckAll(ctx context.Context, prepared []Prepared) {
	inParallel(len(prepared), prepareWidth, func(k int) { prepared[k].Check(ctx) })
}

// inParallel calls f for 0 to n-1, at most width calls at a time.
func inParallel(n, width int, f func(k int)) {
	var all sync.WaitGroup
	next := make(chan int)
	for range min(n, width) {
		all.Go(func() {
			for k := range next {
				f(k)
			}
		})
	}
	for k := range n {
		next <- k
	}
	close(next)
	all.Wait()
}
