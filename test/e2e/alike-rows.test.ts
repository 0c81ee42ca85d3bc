/**
 * Rows of a trace that the module reads by itself, because they are like one that the readers have seen: what is sent, and what is
 * said of the file, is what the readers alone make of it, row after row.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { readRows } from "../support/file-of-text";
import { keepingServer } from "../support/keeping-server";
import { run } from "../support/run";
import { scratchDir } from "../support/scratch";

const times = (count: number) => Array.from({ length: count }, (_, k) => k);

/** Files whose rows are mostly alike; every few rows one differs in something that counts. */
const files: { why: string; name: string; text: string }[] = [
  {
    why: "fractions, texts, other orders, fields that are empty at first, rows without an answer",
    name: "lengths.jsonl",
    text: times(60)
      .map((k) => {
        const [timestamp, input_length, output_length] = [k * 10, 20 + (k % 7), 1 + (k % 5)];
        if (k === 11) return JSON.stringify({ output_length, timestamp, input_length });
        if (k === 17) return JSON.stringify({ timestamp, input_length, output_length: 0, user: null });
        if (k === 23)
          return `\n${JSON.stringify({ timestamp: String(timestamp), input_length, output_length, user: "" })}`;
        if (k === 31)
          return JSON.stringify({ timestamp, input_length: String(input_length), output_length, user: null });
        if (k === 41) return JSON.stringify({ timestamp, input_length, output_length, user: 'a\n"b"' });
        if (k === 47) return JSON.stringify({ timestamp: 5, input_length, output_length, user: null });
        return JSON.stringify({ timestamp, input_length, output_length, user: null });
      })
      .join("\n"),
  },
  {
    why: "seconds, which one time of the middle tells, and blocks",
    name: "blocks.jsonl",
    text: times(40)
      .map((k) =>
        JSON.stringify({
          ...{
            chat_id: k,
            timestamp: k === 25 ? 0.255 : Math.floor(k / 20),
            input_length: 17 + k,
            output_length: 1 + (k % 3),
          },
          hash_ids: times(Math.ceil((17 + k) / 16)).map((id) => (id === 0 ? 0 : 100 * (k % 4) + id)),
        }),
      )
      .join("\r\n"),
  },
  {
    why: "a table of dates with quotes, blank lines, requests that failed, and a column that is filled late",
    name: "dates.csv",
    text: `TIMESTAMP,ContextTokens,GeneratedTokens,Note\r\n${times(60)
      .map((k) => {
        const at = `2024-05-10 00:00:0${Math.floor(k / 50)}.${String((k % 50) * 200_001).padStart(7, "0")}+00:00`;
        if (k === 9) return `"${at}",31,2,`;
        if (k === 19) return `${at},31,0,`;
        if (k === 29) return `\r\n${at},32,3,"two\r\nlines, and more"`;
        if (k === 39) return `${at},33,4,late`;
        return `${at},${20 + (k % 7)},${1 + (k % 5)},`;
      })
      .join("\r\n")}`,
  },
  {
    why: "BurstGPT: seconds, other columns, a request that failed",
    name: "burst.csv",
    text: `Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n${times(30)
      .map((k) => `${Math.floor(k / 15)},ChatGPT,${20 + k},${k === 13 ? 0 : 1 + (k % 4)},${21 + k},Conversation log`)
      .join("\n")}\n`,
  },
];

for (const { why, name, text } of files) {
  test(`rows that are alike: ${why}`, { timeout: 60_000 }, async (t) => {
    const server = await keepingServer(t);
    const file = path.join(scratchDir(), name);
    writeFileSync(file, text);
    // Without the module no row is read but by the readers.
    const wanted = readRows("TRACE", name, text);
    const ended = await run("trace-replay", {
      ...{ BASE_URL: server.baseUrl, TRACE: file, THRESHOLDS: "none", METRICS_URL: "none" },
    });
    const bodies = new Map(server.requests.map(({ id, body }) => [id, body]));
    const first = Math.min(...ended.requests.map(({ scheduledNs = Number.NaN }) => scheduledNs));
    const shown = (rows: { atMs: number; input: number; output: number }[]) =>
      rows
        .map(({ atMs, ...rest }) => ({ atMs: Math.round(atMs * 1e4) / 1e4, ...rest }))
        .sort((a, b) => a.atMs - b.atMs || a.input - b.input || a.output - b.output);
    const sent = ended.requests.map(({ id, scheduledNs = Number.NaN }) => {
      const { messages, max_tokens: output } = bodies.get(id ?? "");
      return { atMs: (scheduledNs - first) / 1e6, input: messages[0].content.split(" ").length, output };
    });
    const rows = wanted.rows.map((row) => JSON.parse(row));
    assert.ok(rows.length > 20);
    assert.deepEqual(
      shown(sent),
      shown(rows.map(({ atMs, inputTokens, outputTokens }) => ({ atMs, input: inputTokens, output: outputTokens }))),
    );
    const said = ended.stderr.replace(/\\"/g, '"');
    for (const line of [wanted.found, ...wanted.notes]) assert.ok(said.includes(line), `${line} in ${said}`);
    assert.equal(said.split(`TRACE=${file}: `).length - 1, 1 + wanted.notes.length, said);
  });
}

test("a row that is not understood behind rows that are alike is named by its own number", {
  timeout: 60_000,
}, async () => {
  const row = (more: object) => JSON.stringify({ timestamp: 1, input_length: 2, output_length: 3, ...more });
  const lines = times(5000).map(() => row({}));
  const table = times(5000).map(() => "1,2,3");
  const bad: [name: string, text: string, says: RegExp][] = [
    ["a.jsonl", [...lines, "", row({ output_length: -1 })].join("\n"), /line 5002 output_length=-1 is no length/],
    [
      "b.csv",
      ["timestamp,input_length,output_length", ...table, "1,2"].join("\n"),
      /row 5001 has 2 cells for 3 columns/,
    ],
    [
      "c.csv",
      ["timestamp,input_length,output_length", ...table, '1,2,"3'].join("\n"),
      /row 5002 of the table: Quoted field/,
    ],
  ];
  for (const [name, text, says] of bad) {
    const file = path.join(scratchDir(), name);
    writeFileSync(file, text);
    const ended = await run("trace-replay", { BASE_URL: "http://127.0.0.1:9/v1", TRACE: file });
    assert.equal(ended.code, 104, ended.stdout + ended.stderr);
    assert.match(ended.stderr, says);
  }
});
