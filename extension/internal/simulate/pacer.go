package simulate

// task is what a timer runs when its time has come.
type task interface{ run(nowNs int64) }

// timer is an entry of the pacer's heap; it is part of the thing that it wakes, so that setting one allocates nothing.
type timer struct {
	atNs  int64
	place int // in the heap, counted from 1; 0 = not set
	task  task
}

// pacer is a heap of absolute deadlines. Deadlines never derive from the time at which an earlier one was served, so a
// late wake-up makes one token late and no other.
type pacer struct{ heap []*timer }

// set makes t due at atNs, whether it was set before or not.
func (p *pacer) set(t *timer, atNs int64) {
	t.atNs = atNs
	if t.place == 0 {
		p.heap = append(p.heap, t)
		t.place = len(p.heap)
		p.up(t.place - 1)
		return
	}
	p.up(t.place - 1)
	p.down(t.place - 1)
}

// clear forgets t.
func (p *pacer) clear(t *timer) {
	if t.place == 0 {
		return
	}
	i, last := t.place-1, len(p.heap)-1
	p.swap(i, last)
	p.heap[last] = nil
	p.heap = p.heap[:last]
	t.place = 0
	if i < last {
		p.up(i)
		p.down(i)
	}
}

// nextNs returns the earliest deadline, or never.
func (p *pacer) nextNs() int64 {
	if len(p.heap) == 0 {
		return never
	}
	return p.heap[0].atNs
}

// serve runs what is due, earliest first, at most limit of them so that sockets get their turn.
func (p *pacer) serve(nowNs int64, limit int) {
	for ; limit > 0 && len(p.heap) > 0 && p.heap[0].atNs <= nowNs; limit-- {
		t := p.heap[0]
		p.clear(t)
		t.task.run(nowNs)
	}
}

func (p *pacer) swap(i, j int) {
	h := p.heap
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

func (p *pacer) up(i int) {
	for i > 0 {
		parent := (i - 1) / 4
		if p.heap[parent].atNs <= p.heap[i].atNs {
			return
		}
		p.swap(i, parent)
		i = parent
	}
}

func (p *pacer) down(i int) {
	for {
		least := i
		for child := 4*i + 1; child <= 4*i+4 && child < len(p.heap); child++ {
			if p.heap[child].atNs < p.heap[least].atNs {
				least = child
			}
		}
		if least == i {
			return
		}
		p.swap(i, least)
		i = least
	}
}
