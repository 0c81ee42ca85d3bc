import assert from "node:assert/strict";
import { test } from "node:test";
import { parseStartArgs } from "./start";

const rows: { argv: string[]; scenario: string; settings: Record<string, string>; k6Args: string[]; why: string }[] = [
  { argv: [], scenario: "concurrency-sweep", settings: {}, k6Args: [], why: "the sweep is what runs by default" },
  {
    argv: ["arrival-rate-ramp", "-e", "RATE=5"],
    scenario: "arrival-rate-ramp",
    settings: { RATE: "5" },
    k6Args: [],
    why: "a scenario's name comes first (npm start NAME -- ... and npm start -- NAME ... look alike here)",
  },
  {
    argv: ["-e", "SLO_TTFT=1", "--quiet"],
    scenario: "concurrency-sweep",
    settings: { SLO_TTFT: "1" },
    k6Args: ["--quiet"],
    why: "k6's own arguments are handed on",
  },
  {
    argv: ["--", '--env=EXTRA_BODY={"a":"b=c"}', "-eSEED=2", "--out", "json=x.json"],
    scenario: "concurrency-sweep",
    settings: { EXTRA_BODY: '{"a":"b=c"}', SEED: "2" },
    k6Args: ["--out", "json=x.json"],
    why: "every form of -e is understood, and a value may hold an equals sign",
  },
];
for (const { argv, why, ...expected } of rows) test(why, () => assert.deepEqual(parseStartArgs(argv), expected));

test("-e without a value is refused", () => {
  assert.throws(() => parseStartArgs(["-e", "RATE"]), /-e RATE is not NAME=value/);
});
