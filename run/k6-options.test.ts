import assert from "node:assert/strict";
import { test } from "node:test";
import { Problem } from "../build/program";
import { requireOptions } from "./k6-options";

const allowed: { args: string[]; why: string }[] = [
  { args: [], why: "nothing" },
  {
    args: ["--quiet", "-qv", "--no-color=false"],
    why: "options that stand alone, one by one, together, or with a value",
  },
  { args: ["--out", "json=x.json", "-ojson=x", "--tag=a=b", "--tag", "c=d"], why: "values in each form" },
  { args: ["--tag", "--bogus"], why: "a value may look like an option" },
  { args: ["--http-debug", "--http-debug=full"], why: "a value that may be left out" },
  { args: ["--once", "--scenario", "x"], why: "the script refuses them and says what to set instead" },
];
for (const { args, why } of allowed) test(`k6's arguments: ${why}`, () => requireOptions(args, false));

const refused: { args: string[]; message: RegExp }[] = [
  { args: ["--bogus"], message: /^--bogus is no option of k6 run; bin\/k6 run --help lists them$/ },
  { args: ["--sumary-mode", "full"], message: /^--sumary-mode is no option of k6 run; did you mean --summary-mode\?$/ },
  {
    args: ["--quiet", "--slo-ttft=5"],
    message: /^--slo-ttft is no option of k6 run; for the setting write -e SLO_TTFT=/,
  },
  { args: ["-x"], message: /^-x is no option/ },
  { args: ["-qx"], message: /^-qx is no option/ },
  { args: ["--quiet", "RATE=5"], message: /^RATE=\.\.\. stands alone; write -- -e RATE=\.\.\./ },
  { args: ["--quiet", "API_KEY=sk-1"], message: /^API_KEY=\.\.\. stands alone; (?!.*sk-1)/ },
  { args: ["another-scenario"], message: /^another-scenario stands alone: a scenario's name comes first/ },
];
for (const { args, message } of refused) {
  test(`k6's arguments: ${args.join(" ")} is refused`, () => {
    assert.throws(
      () => requireOptions(args, false),
      (error) => error instanceof Problem && error.exitCode === 104 && message.test(error.message),
    );
  });
}

test("another k6 than the pinned one knows its options itself; a loose setting is refused all the same", () => {
  requireOptions(["--new-option", "value", "--other"], true);
  assert.throws(() => requireOptions(["RATE=5"], true), /stands alone/);
});
