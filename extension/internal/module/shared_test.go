package module

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/js/modulestest"

	"github.com/tokenclock/tokenclock/extension/internal/records"
)

// initVU runs a script in the init context of a further VU of root; it gives what the script returns, as JSON.
func initVU(t *testing.T, root *Root, script string) string {
	t.Helper()
	rt := modulestest.NewRuntime(t)
	require.NoError(t, rt.VU.Runtime().Set("tc", root.NewModuleInstance(rt.VU).Exports().Named))
	value, err := rt.VU.Runtime().RunString(`"use strict"; JSON.stringify((function () {` + script + "})())")
	require.NoError(t, err)
	return value.String()
}

const sharedScript = `
	let made = 0;
	const value = tc.shared("config", () => {
		made++;
		return { zebra: 1, apple: { text: "Grüße, a text longer than a few words", none: null, gone: undefined }, list: [3, 0.5, [true]] };
	});`

func TestShared_FirstVUMakesTheValue(t *testing.T) {
	root := New(&records.Log{})
	const value = `{"zebra":1,"apple":{"text":"Grüße, a text longer than a few words","none":null},"list":[3,0.5,[true]]}`
	require.Equal(t, `[1,`+value+`]`, initVU(t, root, sharedScript+"return [made, value];"))
	require.Equal(t, `[0,`+value+`]`, initVU(t, root, sharedScript+"return [made, value];"))
	// Another name, another value; it may be a primitive.
	require.Equal(t, `["text",null,7]`, initVU(t, root, `
		return [tc.shared("a", () => "text"), tc.shared("b", () => null), tc.shared("c", () => 7)];`))
	require.Equal(t, `["text"]`, initVU(t, root, `return [tc.shared("a", () => "another")];`))
}

func TestShared_ValueIsLikeAFrozenObject(t *testing.T) {
	root := New(&records.Log{})
	require.JSONEq(t, `{
		"keys": ["zebra", "apple", "list"], "absent": true, "has": [true, false], "spread": {"zebra": 1, "more": 2}, "array": true,
		"mapped": [6, 1], "length": 3, "beyond": true, "text": "Grüße", "entries": ["text", "none"], "own": "function",
		"refused": ["TypeError", "TypeError", "TypeError", "TypeError"], "after": 1
	}`, initVU(t, root, sharedScript+`
		const refused = (change) => { try { change(); return "changed"; } catch (error) { return error.name; } };
		const { list, apple, ...rest } = value;
		return {
			keys: Object.keys(value), absent: value.absent === undefined, has: ["zebra" in value, "absent" in value],
			spread: { ...rest, more: 2 }, array: Array.isArray(list), mapped: list.slice(0, 2).map((each) => each * 2),
			length: [...list].length, beyond: list[3] === undefined, text: apple.text.slice(0, 5),
			entries: Object.entries(apple).map(([name]) => name), own: typeof value.hasOwnProperty,
			refused: [
				refused(() => { value.zebra = 2; }), refused(() => { value.further = 2; }), refused(() => { delete value.zebra; }),
				refused(() => { list.push(1); }),
			],
			after: value.zebra,
		};`))
}

func TestShared_WhatMakeThrowsIsThrownAgain(t *testing.T) {
	root := New(&records.Log{})
	require.Equal(t, `[true,"made"]`, initVU(t, root, `
		const mine = new Error("mine");
		let caught;
		try { tc.shared("x", () => { throw mine; }); } catch (error) { caught = error; }
		return [caught === mine, tc.shared("x", () => "made")];`))
	require.Equal(t, `"shared: the second argument is not a function"`, initVU(t, root, `
		try { tc.shared("y"); } catch (error) { return error.message; }`))
}

func TestShared_MakeMayUseTheModule(t *testing.T) {
	require.Equal(t, `[1]`, initVU(t, New(&records.Log{}), `
		return tc.shared("outer", () => {
			tc.run({ scenario: "s", config: {}, sloMs: {} });
			return [tc.shared("inner", () => 1)];
		});`))
}

// The run's line of the records holds the configuration as the script hands it over.
func TestShared_ValueIsJSONToGo(t *testing.T) {
	root := New(&records.Log{})
	initVU(t, root, sharedScript+`tc.run({ scenario: "s", config: { body: value.apple, list: value.list }, sloMs: {} });`)
	text, err := json.Marshal(root.run.Load().Spec().Config)
	require.NoError(t, err)
	require.JSONEq(t, `{"body":{"text":"Grüße, a text longer than a few words","none":null},"list":[3,0.5,[true]]}`, string(text))
}
