package simulate

import (
	"strconv"
)

// predictor answers /predict, where each of W workers makes one prediction at a time, or /optimized_predict, where one
// worker makes up to B predictions at once. Requests wait in a bounded queue; one that waited too long is answered with
// 504, one that finds the queue full with 503. A worker goes on from the time at which it became free, so a loop that is
// late costs no capacity.
type predictor struct {
	srv       *Server
	workers   int
	batch     int
	serviceNs int64
	queue     []*prediction
	idle      []*predictWorker // the one that has been idle for longest first
}

type predictWorker struct {
	p      *predictor
	timer  timer
	freeNs int64
	work   []*prediction
}

// prediction is one request that waits or is being worked on.
type prediction struct {
	p       *predictor
	c       *conn
	beginNs int64
	timer   timer
	gone    bool
}

func (s *Server) newPredictors() {
	c := &s.config.Predict
	s.predict[0] = &predictor{srv: s, workers: c.PredictWorkers, batch: 1, serviceNs: int64(c.PredictTime)}
	s.predict[1] = &predictor{srv: s, workers: 1, batch: c.PredictBatch, serviceNs: int64(c.PredictBatchTime)}
	for _, p := range s.predict {
		for range p.workers {
			w := &predictWorker{p: p}
			w.timer.task = w
			p.idle = append(p.idle, w)
		}
	}
}

func (p *predictor) serve(c *conn, r *request) {
	c.rec = p.srv.truth.begin(r.id, r.path, r.beginNs, r.kernelBegin)
	if p.srv.refuseSimple(c, r) {
		return
	}
	if p.srv.config.MaxInFlight > 0 && len(p.queue) >= p.srv.config.MaxInFlight {
		c.replyError(429, "RateLimitError", "", "Too many requests are waiting")
		return
	}
	if len(p.queue) >= p.srv.config.PredictQueue*p.batch && len(p.idle) == 0 {
		c.replyError(503, "Overloaded", "", "The queue is full")
		return
	}
	job := &prediction{p: p, c: c, beginNs: r.beginNs}
	job.timer.task = job
	c.cancel = job
	p.queue = append(p.queue, job)
	p.srv.loop.pacer.set(&job.timer, r.beginNs+int64(p.srv.config.PredictTimeout))
	p.assign()
}

// assign gives waiting requests to idle workers.
func (p *predictor) assign() {
	for len(p.idle) > 0 && len(p.queue) > 0 {
		w := p.idle[0]
		p.idle = p.idle[1:]
		startNs := w.freeNs
		for len(p.queue) > 0 && len(w.work) < p.batch {
			job := p.queue[0]
			p.queue[0] = nil
			p.queue = p.queue[1:]
			if len(w.work) == 0 {
				startNs = max(startNs, job.beginNs)
			}
			p.srv.loop.pacer.clear(&job.timer)
			w.work = append(w.work, job)
		}
		w.freeNs = startNs + p.serviceNs
		p.srv.loop.pacer.set(&w.timer, w.freeNs)
	}
}

// run ends a worker's predictions and lets it take the next.
func (w *predictWorker) run(int64) {
	work := w.work
	w.work = nil
	w.p.idle = append(w.p.idle, w)
	w.p.assign()
	for _, job := range work {
		if job.gone {
			continue
		}
		job.c.cancel = nil
		b := append([]byte(nil), `{"prediction":`...)
		b = strconv.AppendFloat(b, float64(mix(w.p.srv.config.Seed, uint64(job.beginNs))>>11)/(1<<53), 'f', 6, 64)
		b = append(b, `,"batch_size":`...)
		b = strconv.AppendInt(b, int64(len(work)), 10)
		job.c.reply(200, applicationJSON, append(b, '}'))
	}
}

// run gives up a request that waited too long.
func (job *prediction) run(int64) {
	job.leave()
	job.c.cancel = nil
	job.c.replyError(504, "Timeout", "", "No worker became free in time")
}

func (job *prediction) cancelled() {
	job.gone = true
	job.p.srv.loop.pacer.clear(&job.timer)
	job.leave()
}

// leave takes the request out of the queue if it is there.
func (job *prediction) leave() {
	queue := job.p.queue
	for i, other := range queue {
		if other == job {
			job.p.queue = append(queue[:i:i], queue[i+1:]...)
			return
		}
	}
}
