package client

import "sync"

// idleLinks are the open connections that no request uses.
type idleLinks[L link] struct {
	mu   sync.Mutex
	list []L
}

// take returns one of that key that is alive, and closes those it finds dead.
func (p *idleLinks[L]) take(key linkKey) (l L, ok bool) {
	for {
		if l, ok = p.pick(key); !ok || l.alive() {
			return l, ok
		}
		l.close(false)
	}
}

// pick takes the last used, which is the least likely to have been closed.
func (p *idleLinks[L]) pick(key linkKey) (l L, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.list) - 1; i >= 0; i-- {
		if l := p.list[i]; l.key() == key {
			p.list = append(p.list[:i], p.list[i+1:]...)
			return l, true
		}
	}
	return l, false
}

func (p *idleLinks[L]) put(l L) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, l)
}

func (p *idleLinks[L]) close() {
	p.mu.Lock()
	list := p.list
	p.list = nil
	p.mu.Unlock()
	for _, l := range list {
		l.close(false)
	}
}
