package module

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/metrics"

	"github.com/tokenclock/tokenclock/extension/internal/client"
	"github.com/tokenclock/tokenclock/extension/internal/clock"
	"github.com/tokenclock/tokenclock/extension/internal/shape"
	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

// callbacks are the functions that a script hands to a load shape's `each`: send is called with every slot, failed with
// what send threw or was rejected with.
type callbacks struct{ send, failed sobek.Callable }

// callbacksOf reads the two arguments. failed may be left out.
func (i *instance) callbacksOf(what string, send, failed sobek.Value) callbacks {
	var f callbacks
	var ok bool
	if f.send, ok = sobek.AssertFunction(send); !ok {
		i.throw(errors.New(what + ": send is not a function"))
	}
	if !sobek.IsUndefined(failed) {
		if f.failed, ok = sobek.AssertFunction(failed); !ok {
			i.throw(errors.New(what + ": failed is not a function"))
		}
	}
	return f
}

// clientsArgument reads the number of clients that a VU carries.
func (i *instance) clientsArgument(what string, v sobek.Value) int {
	n := v.ToInteger()
	if n < 1 || n > 1_000_000 {
		i.throw(fmt.Errorf("%s: clients is %v; it must be a whole number from 1", what, v))
	}
	return int(n)
}

// carrier sends the requests of several clients from one VU. It calls the script once a request and once more when that
// request has ended. Only the goroutine of the VU's event loop uses it.
type carrier struct {
	i *instance
	f callbacks
}

// newCarrier is called once an iteration of a VU.
func newCarrier(i *instance, f callbacks) *carrier {
	i.root.carriers.Add(1)
	return &carrier{i, f}
}

var promiseType = reflect.TypeFor[*sobek.Promise]()

// send implements shape.Send: it calls the script with a slot. ended reports whether the slot's work is over. If it is not, the script returned a
// promise, and the event loop calls then when that promise is settled. An error ends the VU's iteration.
func (c *carrier) send(of *shape.Slot, then func() error) (ended bool, err error) {
	rt, s := c.i.vu.Runtime(), slotOf(of)
	s.carried = true
	value, err := c.f.send(sobek.Undefined(), rt.ToValue(s))
	if err != nil {
		return true, c.fail(err)
	}
	object, ok := value.(*sobek.Object)
	if !ok || object.ExportType() != promiseType {
		return true, nil
	}
	if s.promise == object.Export().(*sobek.Promise) {
		// The very promise of client.start: the end of the request need not take the way through JavaScript.
		s.then = then
		return false, nil
	}
	onSettled, ok := sobek.AssertFunction(object.Get("then"))
	if !ok {
		return true, errors.New("the promise that send returned has no method then")
	}
	settled := func(rejected bool) sobek.Value {
		return rt.ToValue(func(call sobek.FunctionCall) sobek.Value {
			var err error
			if rejected {
				err = c.rejected(call.Argument(0))
			}
			if err == nil {
				err = then()
			}
			c.i.rethrow(err)
			return sobek.Undefined()
		})
	}
	_, err = onSettled(object, settled(false), settled(true))
	return false, err
}

// fail hands the script's exception to failed. An interruption is not for the script to handle.
func (c *carrier) fail(err error) error {
	var thrown *sobek.Exception
	if c.f.failed == nil || !errors.As(err, &thrown) {
		return err
	}
	_, err = c.f.failed(sobek.Undefined(), thrown.Value())
	return err
}

func (c *carrier) rejected(reason sobek.Value) error {
	if c.f.failed == nil {
		return fmt.Errorf("the promise that send returned was rejected: %s", reason)
	}
	_, err := c.f.failed(sobek.Undefined(), reason)
	return err
}

// rethrow ends the calling JavaScript with an error that a call of JavaScript returned. nil is none.
func (i *instance) rethrow(err error) {
	var thrown *sobek.Exception
	var interrupted *sobek.InterruptedError
	switch {
	case err == nil:
	case errors.As(err, &interrupted):
		panic(interrupted)
	case errors.As(err, &thrown):
		panic(thrown)
	default:
		i.throw(err)
	}
}

// emitIteration gives k6 an iteration for a request that a carrier sent: to a user of k6 a request of a level is one,
// however many clients a VU carries. k6 itself counts one for each VU when that is over, so one a VU is left out here.
func (i *instance) emitIteration(state *lib.State, m *client.Measurement) {
	if m.Failure == stream.Interrupted || i.root.carriers.Add(-1) >= 0 {
		return
	}
	at := clock.Wall(m.EndNs)
	ctm := state.Tags.GetCurrentValues()
	sample := func(metric *metrics.Metric, value float64) metrics.Sample {
		return metrics.Sample{TimeSeries: metrics.TimeSeries{Metric: metric, Tags: i.tags.llm}, Time: at, Value: value, Metadata: ctm.Metadata}
	}
	b := state.BuiltinMetrics
	state.Samples <- metrics.Samples{
		sample(b.IterationDuration, metrics.D(time.Duration(m.EndNs-m.StartedNs))), sample(b.Iterations, 1),
	}
}
