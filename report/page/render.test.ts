import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import Papa from "papaparse";
import {
  batches,
  cache,
  ingestion,
  phases,
  type RunSpec,
  ramp,
  requestLine,
  sweep,
  writeRun,
} from "../../test/support/synthetic";
import type { Summary } from "../read/read";
import { renderReport } from "./render";

const dir = mkdtempSync(join(tmpdir(), "tokenclock-render-"));
after(() => rmSync(dir, { recursive: true }));

const runs: Record<string, RunSpec> = {
  "concurrency-sweep": sweep({ seed: 1, failBeyond: 16, sloMs: { ttft: 100 }, config: { API: "json" } }),
  "arrival-rate-ramp": ramp({ seed: 2, capacity: 85 }),
  "prefill-decode": phases({ seed: 3 }),
  "batch-burst": batches({ seed: 4 }),
  "embeddings-burst": batches({ seed: 5, embeddings: true }),
  "prompt-ingestion": ingestion({ seed: 6, tokensPerS: 8000, baseMs: 12, noiseMs: 6 }),
  "kv-cache-profile": cache({ seed: 7, shape: "burst", parallel: [1, 2, 3, 4], cacheTokens: 600, slots: 8 }),
  "speed-generation": cache({ seed: 8, shape: "loop", parallel: [1, 2, 4, 8], cacheTokens: 900, slots: 8 }),
};

/** Width and height in a PNG's header. */
function pngSize(path: string): [number, number] {
  const bytes = readFileSync(path);
  assert.equal(bytes.subarray(1, 4).toString(), "PNG", path);
  return [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
}

/** The page without its two scripts, which are the data of its charts and the code that draws them. */
function parts(html: string): { markup: string; data: string; script: string } {
  const found =
    /^(.*)<script type="application\/json" id="charts">([^<]*)<\/script>\n<script>(.*?)<\/script>\n(<\/body>.*)$/s.exec(
      html,
    );
  assert.ok(found, "the page has its data and one script, at its end");
  const [, before = "", data = "", script = "", after = ""] = found;
  return { markup: before + after, data, script };
}

/** The elements of the page in order, as far as they give it its shape. */
function structure(html: string): string[] {
  return [...html.matchAll(/<(h1|h2|h3|summary)>([^<]*)<|<(?:div|section|figure|table)[^>]* id="([^"]+)"/g)].map(
    ([, tag, text, id]) => (tag ? `${tag} ${text}` : `#${id}`),
  );
}

for (const [scenario, spec] of Object.entries(runs)) {
  test(`${scenario}: verdict first, then the answer, then settings and versions; every file is there`, async () => {
    const run = writeRun(spec, dir, scenario);
    const { files } = await renderReport(run);
    for (const file of files) assert.ok(existsSync(join(run, file)), file);
    const html = readFileSync(join(run, "report.html"), "utf8");
    const shape = structure(html);
    assert.deepEqual(shape.slice(0, 4), [`h1 ${scenario}`, "#verdict", "#validity", "#answer"]);
    assert.deepEqual(shape.slice(-8), [
      "h2 How well the client measured",
      "#client",
      "h2 How to repeat it",
      "#repeat",
      "h2 Settings",
      "#settings",
      "h2 Versions",
      "#versions",
    ]);
    assert.match(html, /<section class="answer" id="answer"><p>[^<]*\d[^<]*<\/p>/, "the answer has numbers");

    // Self-contained: nothing that a browser would fetch, and of scripts the one whose hash the policy names.
    const { markup, script } = parts(html);
    assert.deepEqual(markup.match(/<script|<link[^>]+stylesheet|@import|url\((?!#)/gi), null);
    for (const [, address] of markup.matchAll(/(?:src|href)="([^"]*)"/g)) assert.match(address as string, /^(data:|#)/);
    const hash = createHash("sha256").update(script).digest("base64");
    assert.ok(
      markup.includes(`default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-${hash}'`),
    );

    // Pictures: drawn once, in the page and as PNG at twice the size; ids of one page are unique.
    const pictures = files.filter((file) => file.endsWith(".png"));
    assert.ok(pictures.length > 0);
    for (const picture of pictures) {
      const [width, height] = pngSize(join(run, picture));
      assert.equal(width, 1660, picture);
      assert.ok(height > 400 && height < 2400, `${picture} is ${height} high`);
      assert.ok(markup.includes(`id="picture-${picture.replace(/^pictures.|\.png$/g, "")}"`));
    }
    const ids = [...markup.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
    assert.equal(new Set(ids).size, ids.length, `ids twice: ${ids.filter((id, i) => ids.indexOf(id) !== i)}`);
    // Colours follow the scheme: no drawn element keeps one of the light palette's.
    const fixed = markup.slice(markup.indexOf("<body>")).match(/(fill|stroke)="#(?!000")[0-9a-f]{3,6}"/g) ?? [];
    assert.deepEqual([...new Set(fixed)], []);

    // CSV and JSON say the same.
    const tables = files.filter((file) => file.endsWith(".csv") && file.startsWith("tables"));
    for (const file of tables) {
      const csv = Papa.parse<Record<string, string>>(readFileSync(join(run, file), "utf8").trim(), { header: true });
      assert.deepEqual(csv.errors, [], file);
      const json = JSON.parse(readFileSync(join(run, file.replace(/csv$/, "json")), "utf8")) as {
        columns: { key: string }[];
        rows: Record<string, unknown>[];
      };
      assert.deepEqual(
        csv.meta.fields,
        json.columns.map(({ key }) => key),
      );
      assert.equal(csv.data.length, json.rows.length);
      for (const [i, row] of json.rows.entries())
        for (const [key, value] of Object.entries(row))
          assert.equal(csv.data[i]?.[key], value === null ? "" : String(value), `${file} ${key}`);
    }
  });
}

test("the same folder gives the same bytes", async () => {
  const run = writeRun(runs["arrival-rate-ramp"] as RunSpec, dir, "twice");
  await renderReport(run);
  const contents = () =>
    readdirSync(run, { recursive: true, encoding: "utf8" })
      .filter((file) => /\.(html|csv|json|png)$/.test(file))
      .sort()
      .map((file) => [file, readFileSync(join(run, file), "base64")]);
  const first = contents();
  await renderReport(run);
  assert.deepEqual(contents(), first);
});

test("what a server or a user wrote is text, in the page and in spreadsheets", async () => {
  const evil = `</style><script>alert("x")</script><img src=x onerror=alert(1)>`;
  const requests = [
    requestLine({ level: "c1", sentMs: 10, ttftMs: 5, gapsMs: [5] }),
    requestLine({ level: "c1", sentMs: 30, failure: `=cmd|' /C calc'!A0<script>`, status: 500, message: evil }),
  ];
  const run = writeRun(
    {
      scenario: "concurrency-sweep",
      requests,
      levels: [{ name: `c1`, concurrency: 1, openMs: 0, closeMs: 50, labels: { evil } }],
      config: { MODEL: evil, [evil]: "x" },
      reasons: [evil],
      pass: false,
    },
    dir,
    "evil",
  );
  await renderReport(run);
  const html = readFileSync(join(run, "report.html"), "utf8");
  const { markup, data } = parts(html);
  assert.deepEqual(markup.match(/<script|<img/gi), null);
  assert.ok(JSON.parse(data)["requests-scatter"]);
  assert.ok(html.includes("&lt;script&gt;"));
  // A column of failures is named by the class; spreadsheets must not run it.
  assert.doesNotMatch(readFileSync(join(run, "tables", "failures.csv"), "utf8"), /(^|,)=/m);
});

test("a run that failed, or whose client was the limit, says so at the top", async () => {
  const spec = sweep({
    seed: 1,
    concurrencies: [2],
    requestsPerLevel: 20,
    validity: { state: "CLIENT-BOUND", reasons: ["scheduling lag p99 31 ms"] },
  });
  const run = writeRun(
    { ...spec, pass: false, reasons: ["llm_ttft{level:c2} p(95) 812 ms, limit < 200 ms"] },
    dir,
    "failed",
  );
  await renderReport(run);
  const html = readFileSync(join(run, "report.html"), "utf8");
  const top = html.slice(0, html.indexOf('id="answer"'));
  for (const words of ["FAILED", "p(95) 812 ms", "CLIENT-BOUND", "scheduling lag p99 31 ms"])
    assert.ok(top.includes(words), words);
});

test("a run that violated nothing and yet is no pass is not said to have failed a threshold", async () => {
  const bound = { state: "CLIENT-BOUND" as const, reasons: ["scheduling lag p99 31 ms"] };
  const spec = sweep({ seed: 1, concurrencies: [2], requestsPerLevel: 20, validity: bound });
  const kept = { metric: "llm_ttft", level: "c2", expression: "p(95)<200", value: 31, margin: 169, result: "passed" };
  const missed = { ...kept, value: 231, margin: -31, result: "violated" };
  for (const [pass, thresholds, word, meaning] of [
    [false, [kept], "NO PASS", "No threshold is violated, but"],
    [false, [], "NO PASS", "No threshold is violated, but"],
    [false, [kept, missed], "FAILED", "At least one threshold is violated."],
    [true, [kept], "PASSED", "Every threshold passed."],
    [true, [], "PASSED", "No threshold was judged."],
  ] as const) {
    const run = writeRun({ ...spec, pass, reasons: ["CLIENT-BOUND"] }, dir, "no-pass");
    const file = join(run, "summary.json");
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), thresholds }));
    await renderReport(run);
    const html = readFileSync(join(run, "report.html"), "utf8");
    assert.match(html, new RegExp(`id="verdict"><strong>${word}</strong>${meaning}`), `${pass} ${thresholds.length}`);
  }
});

test("the cached share of each level, a cold run that had one, and the notes on the load are on the page", async () => {
  const spec = sweep({ seed: 3 });
  const reason = "level c8: 62.5 % of the input came from the server's prefix cache (by its usage)";
  const run = writeRun({ ...spec, pass: false, validity: { state: "CACHE-BOUND", reasons: [reason] } }, dir, "cached");
  const file = join(run, "summary.json");
  const summary = JSON.parse(readFileSync(file, "utf8")) as Summary;
  for (const level of summary.levels) level.cachedShare = 0.625;
  summary.notes = ["DATASET=prompts has 40 rows for 50 requests: each row is sent 1.3 times"];
  writeFileSync(file, JSON.stringify(summary));
  await renderReport(run);
  const html = readFileSync(join(run, "report.html"), "utf8");
  assert.match(html, /<div class="doubt" id="validity"><strong>CACHE-BOUND<\/strong>.*no gate may pass/s);
  assert.ok(html.includes(reason.replace("'", "&#39;")), "the reason");
  assert.match(html, /<li>Note: DATASET=prompts has 40 rows for 50 requests/);
  assert.match(html, /Cached input/);
  const { rows } = JSON.parse(readFileSync(join(run, "tables", "levels.json"), "utf8"));
  assert.deepEqual([...new Set(rows.map((row: Record<string, unknown>) => row.cached_share))], [0.625]);
  // Of a server that tells nothing there is no column.
  const plain = writeRun(spec, dir, "uncached");
  await renderReport(plain);
  assert.doesNotMatch(readFileSync(join(plain, "report.html"), "utf8"), /Cached input/);
});

test("what the server says of each level, its latencies beside ours and the costs are on the page and in the tables", async () => {
  const spec = sweep({ seed: 3, concurrencies: [2, 4] });
  const [run, plain] = [writeRun(spec, dir, "priced"), writeRun(spec, dir, "unpriced")];
  const file = join(run, "summary.json");
  const summary = JSON.parse(readFileSync(file, "utf8")) as Summary;
  const ours = { count: 100, meanMs: 24, p50Ms: 22, p99Ms: 40 };
  for (const [i, level] of summary.levels.entries()) {
    level.cost = { perRequest: 0.001 * (i + 1), perMillionOutputTokens: 3 + i };
    level.server = {
      ...{ running: { mean: 1.5 + i, max: 2 + 2 * i }, kvUsage: { mean: 0.25, max: 0.5 }, preemptions: 0, powerW: 400 },
      ...{ joulesPerOutputToken: 1.25 + i, pages: [] },
      ttft: { metric: "x", count: 99, meanMs: 20, p50Ms: { low: 10, high: 25 }, ours, outsideMs: 4 },
    };
  }
  writeFileSync(file, JSON.stringify(summary));
  await renderReport(run);
  const rows = (name: string) => JSON.parse(readFileSync(join(run, "tables", `${name}.json`), "utf8")).rows;
  const common = { kv_usage_mean: 0.25, kv_usage_max: 0.5, preemptions: 0, power_w: 400 };
  assert.deepEqual(rows("server"), [
    { level: "c2", running_mean: 1.5, running_max: 2, ...common, joules_per_output_token: 1.25 },
    { level: "c4", running_mean: 2.5, running_max: 4, ...common, joules_per_output_token: 2.25 },
  ]);
  assert.deepEqual(rows("costs"), [
    { level: "c2", cost_per_request: 0.001, cost_per_million_output_tokens: 3 },
    { level: "c4", cost_per_request: 0.002, cost_per_million_output_tokens: 4 },
  ]);
  assert.deepEqual(rows("server_latencies")[1], {
    ...{ level: "c4", latency: "TTFT", server_mean_ms: 20, client_mean_ms: 24, outside_ms: 4 },
    ...{ server_p50_from_ms: 10, server_p50_to_ms: 25, client_p50_ms: 22, server_count: 99, client_count: 100 },
  });
  const html = readFileSync(join(run, "report.html"), "utf8");
  for (const id of ["server", "server_latencies", "costs"]) assert.ok(html.includes(`id="table-${id}"`), id);
  // Levels that ran at once are one row.
  summary.server = { running: { mean: 4, max: 6 }, pages: [] };
  delete summary.levels[1]?.server;
  writeFileSync(file, JSON.stringify(summary));
  await renderReport(run);
  const polled = rows("server").map((row: Record<string, unknown>) => [row.level, row.running_mean, row.running_max]);
  assert.deepEqual(polled, [
    ["c2", 1.5, 2],
    ["together", 4, 6],
  ]);
  assert.equal(rows("costs").length, 2);
  // Of a server that says nothing, without prices, there is no such section.
  await renderReport(plain);
  assert.doesNotMatch(readFileSync(join(plain, "report.html"), "utf8"), /and costs</);
  // Several runs stand below each other.
  const outputDir = join(dir, "priced-and-not");
  await renderReport([run, plain], { outputDir });
  const both = JSON.parse(readFileSync(join(outputDir, "tables", "costs.json"), "utf8")).rows;
  assert.deepEqual(
    both.map((row: Record<string, unknown>) => [row.run, row.level, row.cost_per_request]),
    [
      ["A", "c2", 0.001],
      ["A", "c4", 0.002],
      ["B", "c2", null],
      ["B", "c4", null],
    ],
  );
});

test("what stamped the arrivals, what happened to the client and the notes are on the page", async () => {
  const pauses = {
    stoppedMs: { count: 2, total: 3000, longest: 1501 },
    throttledMs: { count: 3, total: 40, longest: 0 },
  };
  const spec = sweep({
    seed: 1,
    concurrencies: [2],
    requestsPerLevel: 20,
    validity: {
      notes: ["stopped & <fine>"],
      stamps: { source: "ring", ring: 0.999, socket: 0.001, user: 0 },
      ring: { packets: 996, drops: 4, lostBytes: 99, duplicates: 7, reordered: 2, mixedRequests: 1 },
      ...pauses,
      hostLevels: [{ name: "c2", ...pauses }],
    },
  });
  const run = writeRun(spec, dir, "stopped");
  await renderReport(run);
  const html = readFileSync(join(run, "report.html"), "utf8");
  assert.ok(html.slice(0, html.indexOf('id="answer"')).includes("Note: stopped &amp; &lt;fine&gt;"));
  const facts = html.slice(html.indexOf('id="client"'));
  const row = (name: string) =>
    new RegExp(`<td>${name.replace(/[()]/g, "\\$&")}</td><td class="wrap">([^<]*)</td>`).exec(facts)?.[1];
  assert.equal(row("Arrival times from"), "ring 99.9 %, socket 0.100 %");
  assert.equal(row("Packets that the packet ring dropped"), "4 of 1,000");
  assert.equal(row("Requests that sockets stamped in part"), "1");
  assert.equal(row("Client stopped"), "2 times, 3000 ms in total, 1501 ms the longest");
  assert.equal(row("Client stopped, level c2"), row("Client stopped"));
  assert.equal(row("Client throttled by its CPU quota (all processors), level c2"), "3 times, 40 ms in total");
  assert.equal(row("Machine suspended"), "none");
  assert.equal(row("Machine suspended, level c2"), undefined, "a level names what happened in it");
  assert.equal(row("Processor time that the hypervisor took (whole machine)"), "–", "the host did not say");
});

test("a killed run is rendered from its records, and the page says what is missing", async () => {
  const run = writeRun(sweep({ seed: 1, concurrencies: [1, 2], requestsPerLevel: 50 }), dir, "killed");
  rmSync(join(run, "summary.json"));
  await renderReport(run);
  const html = readFileSync(join(run, "report.html"), "utf8");
  assert.ok(html.includes("NO VERDICT"));
  assert.match(html, /class="damage"[\s\S]*summary\.json/);
  assert.match(html, /Throughput is highest with 2 clients/);
});

test("a summary that is none is reported and replaced by the records; without records it is one clear line", async () => {
  const run = writeRun(sweep({ seed: 1, concurrencies: [1, 2], requestsPerLevel: 50 }), dir, "hollow");
  writeFileSync(join(run, "summary.json"), "{}");
  await renderReport(run);
  const html = readFileSync(join(run, "report.html"), "utf8");
  assert.match(html, /class="damage"[\s\S]*summary\.json cannot be read: it has no levels/);
  assert.match(html, /Throughput is highest with 2 clients/);
  rmSync(join(run, "records.ndjson.gz"));
  await assert.rejects(renderReport(run), /has no records, and summary\.json cannot be read: it has no levels/);
});

test("the top says server, model, API and lengths; the settings are those of the load or set, the rest is folded", async () => {
  const spec = sweep({ seed: 1, concurrencies: [1], requestsPerLevel: 5 });
  const config = {
    MODEL: "tiny",
    API: "chat",
    INPUT_TOKENS: "128",
    OUTPUT_TOKENS: "16",
    TIMEOUT: "10m",
    IGNORE_EOS: true,
    HTTP2: true,
  };
  const run = writeRun({ ...spec, config: { ...spec.config, ...config } }, dir, "settings");
  await renderReport(run);
  const html = readFileSync(join(run, "report.html"), "utf8");
  const top = html.slice(0, html.indexOf('id="verdict"'));
  assert.ok(
    top.includes("Server http://127.0.0.1:8000/v1 · model tiny · API chat · input 128 tokens · output 16 tokens"),
    top.slice(-300),
  );
  const names = (id: string) =>
    [...(html.split(`id="${id}"`)[1]?.split("</table>")[0] ?? "").matchAll(/<tr><td>(\w+)/g)].map(([, name]) => name);
  assert.deepEqual(names("settings-rest"), ["TIMEOUT", "IGNORE_EOS"]);
  for (const name of ["BASE_URL", "CONCURRENCY", "REQUESTS", "HTTP2"])
    assert.ok(names("settings").includes(name), name);
});

test("several folders of a scenario stand beside each other, whatever its own answer covers", async () => {
  const [a, b, c] = ["one", "two", "three"].map((name) => writeRun(runs["concurrency-sweep"] as RunSpec, dir, name));
  const outputDir = join(dir, "beside");
  await renderReport([a as string, b as string, c as string], { outputDir });
  const { markup, data } = parts(readFileSync(join(outputDir, "report.html"), "utf8"));
  for (const words of ["A: one", "B: two", "C: three"]) assert.ok(markup.includes(words), words);
  const { rows } = JSON.parse(readFileSync(join(outputDir, "tables", "levels.json"), "utf8"));
  assert.deepEqual(rows.map(({ run }: { run: string }) => run).join(""), "AAAAAABBBBBBCCCCCC");
  const names = JSON.parse(data)["ttft-percentiles"].panels[0].series.map(({ name }: { name: string }) => name);
  assert.deepEqual(names.slice(4, 8), ["A c16", "A c32", "B c1", "B c2"]);
  assert.equal(existsSync(join(a as string, "report.html")), false);
});

test("a scenario that has no answer of its own gets the page that serves any", async () => {
  for (const scenario of ["my-chat", "constructor"]) {
    const run = writeRun({ ...sweep({ seed: 1, concurrencies: [2], requestsPerLevel: 30 }), scenario }, dir, scenario);
    await renderReport(run);
    const { markup } = parts(readFileSync(join(run, "report.html"), "utf8"));
    assert.match(
      markup,
      /<section class="answer" id="answer"><p>The server delivers [\d.]+ output tokens\/s at TTFT p50/,
    );
    for (const id of ["table-levels", "picture-ttft-percentiles", "picture-tokens-over-time", "picture-waterfall"])
      assert.ok(markup.includes(`id="${id}"`), id);
  }
});

test("two folders of different scenarios are refused", async () => {
  const a = writeRun(runs["prefill-decode"] as RunSpec, dir, "a");
  const b = writeRun(runs["prompt-ingestion"] as RunSpec, dir, "b");
  await assert.rejects(renderReport([a, b]), /different scenarios/);
});
