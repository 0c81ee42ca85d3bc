import assert from "node:assert/strict";
import { test } from "node:test";
import { html, raw } from "./markup";

test("values are escaped, markup is not, in arrays as well", () => {
  const evil = `<b a="x" c='y'>&`;
  assert.equal(
    String(html`<p title="${evil}">${evil}</p>`),
    '<p title="&lt;b a=&quot;x&quot; c=&#39;y&#39;&gt;&amp;">&lt;b a=&quot;x&quot; c=&#39;y&#39;&gt;&amp;</p>',
  );
  assert.equal(
    String(html`${[evil, html`<i>${1}</i>`, raw("<br>")]}`),
    "&lt;b a=&quot;x&quot; c=&#39;y&#39;&gt;&amp;<i>1</i><br>",
  );
});

test("what is not there leaves nothing, and 0 is there", () => {
  assert.equal(String(html`[${undefined}${null}${false}${""}${0}]`), "[0]");
});
