/**
 * One file of every format in use, sent by the built k6 to a server that keeps what it is sent: texts, order, lengths, tools, roles and
 * times are those of the file. What is expected is in test/support/samples.ts.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import type { ReadSettings } from "../../lib/workload/formats/read";
import { type KeptRequest, keepingServer } from "../support/keeping-server";
import { type RunSettings, run } from "../support/run";
import { fixtures, type Sent, samples, textOf, traces, unset } from "../support/samples";
import { scratchDir } from "../support/scratch";

/** What a sample is read by, as -e sets it. */
function asSet({ API: _, DATASET_COLUMNS: columns, TRACE_WINDOW: window, ...set }: Partial<ReadSettings>): RunSettings {
  const scalars = Object.entries(set).map(([name, value]) => [name, String(value)]);
  const of = window?.of === "rows" ? `${window.from}-${window.to}` : `${window?.from}ms-${window?.to}ms`;
  return {
    ...Object.fromEntries(scalars),
    ...(columns ? { DATASET_COLUMNS: columns.map(({ role, column }) => `${role}=${column}`).join(",") } : {}),
    ...(window ? { TRACE_WINDOW: of } : {}),
  };
}

test("DATASET: the wire has what every file says, row after row", { timeout: 120_000 }, async (t) => {
  const server = await keepingServer(t);
  const durationS = 2;
  const loads = samples.map((sample, k) => ({ ...sample, name: `s${k}`, wanted: sample.bodies(textOf(sample.file)) }));
  // A class a file, at a rate that sends each of its rows once.
  const classes = loads.map(({ name, file, set = {}, wanted }) => ({
    ...{ name, rate: wanted.length / durationS, api: set.API ?? "chat" },
    settings: {
      ...{ DATASET: path.join(fixtures, file), OUTPUT_TOKENS: unset, HEADERS: { "X-Sample": name } },
      ...asSet(set),
    },
  }));
  const mix = path.join(scratchDir(), "mix.json");
  writeFileSync(mix, JSON.stringify({ classes }));
  const ended = await run(
    "mixed",
    { BASE_URL: server.baseUrl, MIX: mix, DURATION: `${durationS}s`, THRESHOLDS: "none", METRICS_URL: "none" },
    { timeoutMs: 100_000 },
  );
  const scheduled = new Map(ended.requests.map(({ id, scheduledNs = Number.NaN }) => [id, scheduledNs]));
  const at = ({ id }: KeptRequest) => scheduled.get(id as string) ?? Number.NaN;
  for (const { name, file, set = {}, wanted, found, notes = [] } of loads) {
    const sent = server.requests.filter(({ headers }) => headers["x-sample"] === name);
    const what = `${file} ${Object.keys(set)}`;
    assert.deepEqual(
      sent.sort((a, b) => at(a) - at(b)).map(({ body }) => body),
      wanted,
      `${what}\n${ended.stderr.slice(-2000)}`,
    );
    // Of several classes with one file the lines are one after the other.
    const said = linesOf(ended.stderr, `DATASET=${path.join(fixtures, file)}: `);
    assert.ok(
      said.some((line) => found.test(line)),
      `${what}: ${said.join("\n")}`,
    );
    for (const note of notes)
      assert.ok(
        said.some((line) => note.test(line)),
        `${what}: ${note} in ${said.join("\n")}`,
      );
  }
});

/** What k6's log says behind this text, a line each. */
function linesOf(log: string, prefix: string): string[] {
  return log.split("\n").flatMap((line) => {
    const [, said] = line.split(prefix);
    return said === undefined ? [] : [said.replace(/" source=console$/, "").replace(/\\"/g, '"')];
  });
}

for (const { file, set = {}, rows, input } of traces) {
  const text = textOf(file);
  // Rows of one time have no order on the wire: here those with the shorter answer come first.
  const wanted = [...(typeof rows === "function" ? rows(text) : rows)].sort(
    ([a, , shorter], [b, , longer]) => a - b || shorter - longer,
  );
  // Days in two seconds.
  const lastMs = wanted.at(-1)?.[0] ?? 0;
  const speed = set.SPEED === undefined && lastMs > 2000 ? lastMs / 2000 : 1;
  test(`TRACE ${file} ${Object.keys(set)}: each row at its time, with its lengths`, { timeout: 60_000 }, async (t) => {
    const server = await keepingServer(t);
    const ended = await run("trace-replay", {
      ...{ BASE_URL: server.baseUrl, TRACE: path.join(fixtures, file), THRESHOLDS: "none", METRICS_URL: "none" },
      ...{ API: set.API ?? "chat", ...asSet(set), ...(speed === 1 ? {} : { SPEED: speed }) },
    });
    const sent = new Map(server.requests.map((each) => [each.id, each.body]));
    const first = Math.min(...ended.requests.map(({ scheduledNs = Number.NaN }) => scheduledNs));
    const requests = ended.requests
      .map(({ id, scheduledNs = Number.NaN }) => ({ atMs: (scheduledNs - first) / 1e6, body: sent.get(id ?? "") }))
      .sort((a, b) => a.atMs - b.atMs || a.body.max_tokens - b.body.max_tokens);
    assert.equal(requests.length, wanted.length, ended.stdout + ended.stderr);
    const begin = wanted[0]?.[0] ?? 0;
    const texts: string[] = [];
    requests.forEach(({ atMs, body }, k) => {
      const [wantedMs = 0, inputTokens, outputTokens] = wanted[k] ?? [];
      const dueMs = (wantedMs - begin) / speed;
      assert.ok(Math.abs(atMs - dueMs) < 0.001, `row ${k}: sent at ${atMs} ms instead of ${dueMs}`);
      assert.equal(body.max_tokens, outputTokens, `row ${k}`);
      if (input) return;
      // The server counts a word as a token.
      texts.push(body.messages[0].content);
      assert.equal(body.messages[0].content.split(" ").length, inputTokens, `row ${k}`);
      assert.equal(body.min_tokens, outputTokens, `row ${k}`);
    });
    if (input)
      assert.deepEqual(
        requests.map(({ body }) => body.messages ?? body.prompt),
        input(text),
      );
    else requirePrefixes(texts, wanted, Number(/blocks of (\d+) tokens/.exec(ended.stderr)?.[1] ?? 0));
  });
}

/** Rows share as much text as they share blocks at their beginnings. */
function requirePrefixes(texts: readonly string[], rows: readonly Sent[], blockTokens: number): void {
  const commonOf = (a: readonly unknown[], b: readonly unknown[]) => {
    const differs = a.findIndex((each, i) => each !== b[i]);
    return differs < 0 ? a.length : differs;
  };
  for (let a = 0; a < texts.length; a++) {
    for (let b = a + 1; b < texts.length; b++) {
      const [, tokensA = 0, , idsA = []] = rows[a] ?? [];
      const [, tokensB = 0, , idsB = []] = rows[b] ?? [];
      const words = commonOf((texts[a] ?? "").split(" "), (texts[b] ?? "").split(" "));
      const shared = Math.min(blockTokens * commonOf(idsA, idsB), tokensA, tokensB);
      // Two words may be the same by chance, two of them behind each other hardly.
      assert.ok(
        words >= shared && words <= shared + 3,
        `rows ${a} and ${b} share ${words} words, and ${shared} tokens`,
      );
    }
  }
}
