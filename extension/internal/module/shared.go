package module

import (
	"errors"

	"github.com/grafana/sobek"
	"github.com/tidwall/gjson"
)

// shareValue is `shared(name, make)`. A VU has its own copy of everything its script makes, and a JavaScript object of
// sixty fields takes 16 kB: of a shared one it has but a view.
func (i *instance) shareValue(call sobek.FunctionCall) sobek.Value {
	rt, r, name := i.vu.Runtime(), i.root, call.Argument(0).String()
	r.mu.Lock()
	value, ok := r.values[name]
	r.mu.Unlock()
	if !ok {
		make, ok := sobek.AssertFunction(call.Argument(1))
		if !ok {
			i.throw(errors.New("shared: the second argument is not a function"))
		}
		// Without the lock: what the script calls may need it. The first VU has ended its init before others begin theirs.
		made, err := make(sobek.Undefined())
		if err != nil {
			panic(err) // the script's own exception, or its interruption
		}
		text, err := rt.NewArray(made).MarshalJSON()
		if err != nil {
			panic(err)
		}
		value = newSharedValue(gjson.ParseBytes(text).Get("0"))
		r.mu.Lock()
		if r.values == nil {
			r.values = map[string]any{}
		}
		r.values[name] = value
		r.mu.Unlock()
	}
	return viewOf(rt, value)
}

// sharedObject and sharedArray hold primitives and one another. Nobody changes them once they are made.
type sharedObject struct {
	keys   []string
	values map[string]any
	json   string
}

type sharedArray struct {
	values []any
	json   string
}

func newSharedValue(of gjson.Result) any {
	switch {
	case of.IsObject():
		o := &sharedObject{values: map[string]any{}, json: of.Raw}
		of.ForEach(func(key, value gjson.Result) bool {
			o.keys = append(o.keys, key.String())
			o.values[key.String()] = newSharedValue(value)
			return true
		})
		return o
	case of.IsArray():
		a := &sharedArray{json: of.Raw}
		for _, value := range of.Array() {
			a.values = append(a.values, newSharedValue(value))
		}
		return a
	default:
		return of.Value()
	}
}

// viewOf is a shared value as a VU's JavaScript sees it: like a frozen object, or the primitive itself.
func viewOf(rt *sobek.Runtime, value any) sobek.Value {
	switch value := value.(type) {
	case *sharedObject:
		return rt.NewDynamicObject(objectView{value, rt})
	case *sharedArray:
		return rt.NewDynamicArray(arrayView{value, rt})
	default:
		return rt.ToValue(value)
	}
}

type objectView struct {
	o  *sharedObject
	rt *sobek.Runtime
}

type arrayView struct {
	a  *sharedArray
	rt *sobek.Runtime
}

var (
	_ sobek.DynamicObject = objectView{}
	_ sobek.DynamicArray  = arrayView{}
)

func (v objectView) Get(key string) sobek.Value {
	value, ok := v.o.values[key]
	if !ok {
		return nil
	}
	return viewOf(v.rt, value)
}

func (v objectView) Has(key string) bool {
	_, ok := v.o.values[key]
	return ok
}

func (v objectView) Keys() []string               { return v.o.keys }
func (v objectView) Set(string, sobek.Value) bool { return false }
func (v objectView) Delete(string) bool           { return false }
func (v objectView) MarshalJSON() ([]byte, error) { return []byte(v.o.json), nil }
func (v arrayView) Len() int                      { return len(v.a.values) }
func (v arrayView) Set(int, sobek.Value) bool     { return false }
func (v arrayView) SetLen(int) bool               { return false }
func (v arrayView) MarshalJSON() ([]byte, error)  { return []byte(v.a.json), nil }

func (v arrayView) Get(index int) sobek.Value {
	if index < 0 || index >= len(v.a.values) {
		return nil
	}
	return viewOf(v.rt, v.a.values[index])
}
