/** What a run prints, number by number, held against the tables of its report: one name, one number. */
import assert from "node:assert/strict";
import { percent, shortNumber } from "../../lib/figures/table";
import type { Reported } from "./reported";

type Row = Record<string, number | string | null>;

/** How many numbers of a run's stdout were found in its report. A line with a number that is not known here fails. */
export function checkPrinted({ ended, rows }: Reported, scenario: string): number {
  let checked = 0;
  const same = (shown: string, cell: number | string | null | undefined, what: string, scale = 1) => {
    checked++;
    if (typeof cell === "string") return assert.equal(shown, cell, what);
    if (shown === "" || shown === "-")
      return assert.ok(cell === null || cell === undefined || cell === 0, `${what} is ${cell}`);
    assert.equal(typeof cell, "number", `${what}: ${shown} is printed, the report has ${cell}`);
    // The last digit may be rounded from two sums of the same numbers.
    const values = [1, 1 - 1e-12, 1 + 1e-12].map((by) => Number(cell) * scale * by);
    const texts = values.flatMap((value) => [shortNumber(value), percent(value / 100)]);
    assert.ok(texts.includes(shown), `${what}: ${shown} is printed, the report has ${cell}`);
  };
  const [row = {}] = rows(firstTable[scenario] ?? "levels");
  const percentiles = rows("percentiles");
  const blocks = ended.stdout.trim().split(/\n\n+/);
  for (const block of blocks) {
    const lines = block.split("\n");
    const heading = lines[0] ?? "";
    if (/^level\s+sessions\b/.test(heading))
      checkTable(lines, (level, _, column) => sessionCell(rows("sessions"), level, column), same);
    else if (/ by turn$/.test(heading)) {
      const ofLevel = rows("turns").filter(({ level }) => level === heading.replace(/ by turn$/, ""));
      checkTable(lines.slice(1), (_, i, column) => turnCell(ofLevel[i] ?? {}, column), same);
    } else if (/^level\s/.test(heading))
      checkTable(lines, (level, i, column) => levelCell(rows("levels"), percentiles, level, i, column), same);
    else if (/^server\s/.test(heading))
      checkTable(lines, (level, _, column) => serverCell(ended.summary, level, column), same);
    else if (/^by the server's clock\s/.test(heading))
      for (const line of lines.slice(1)) checkHeld(line, ended.summary, same);
    else if (/^batch\s/.test(heading)) checkTable(lines, (level, _, column) => burstCell(rows, level, column), same);
    else if (/^\S+\n\s+Status codes/.test(block))
      checkBenchmark(lines, rows("request_benchmark"), rows("request_benchmark_averages"), same);
    else for (const line of lines) checkLine(line, row, rows, ended.summary, same);
  }
  return checked;
}

type Same = (shown: string, cell: number | string | null | undefined, what: string, scale?: number) => void;

/** The table that the lines of text of a scenario stand in. */
const firstTable: Record<string, string> = {
  "arrival-rate-ramp": "ramp_figures",
  mixed: "together",
  "prefill-decode": "prefill_decode",
  "prompt-ingestion": "prompt_ingestion",
};

/** Columns of a text table by their right ends; the first one is set to the left. */
function checkTable(
  lines: string[],
  cellOf: (level: string, row: number, column: string) => { cell: Row[string] | undefined; scale?: number },
  same: Same,
): void {
  const [heading = "", ...body] = lines;
  const columns = [...heading.matchAll(/\S+(?: \S+)*/g)].map((match) => ({
    name: match[0],
    end: match.index + match[0].length,
  }));
  let group = "";
  const names = columns.map(({ name }) => {
    // "TTFT p50  p99 ms": a heading without a metric's name belongs to the one before.
    const [, metric, statistic] = /^(?:(TTFT|TPOT|ITL|e2e|session|task) )?(p\d+)(?: m?s)?$/.exec(name) ?? [];
    if (metric) group = metric;
    return statistic ? `${group} ${statistic}` : name;
  });
  body.forEach((line, i) => {
    const level = /^\s*\S+/.exec(line)?.[0] ?? "";
    for (let c = 1; c < columns.length; c++) {
      const [from, to] = [c === 1 ? level.length : (columns[c - 1]?.end ?? 0), columns[c]?.end ?? 0];
      const { cell, scale } = cellOf(level, i, names[c] ?? "");
      same(line.slice(from, to).trim(), cell, `${level} ${names[c]}`, scale);
    }
  });
}

/** A cell of the table of levels, in the report's tables. */
function levelCell(levels: Row[], percentiles: Row[], level: string, i: number, column: string) {
  const row = levels[i] ?? {};
  const [, metric, statistic = ""] = /^(\S+) (p\d+)$/.exec(column) ?? [];
  if (metric) {
    const found = percentiles.find((each) => each.level === level && each.metric === metric.toLowerCase());
    return { cell: found?.[statistic] };
  }
  const keys: Record<string, string> = {
    requests: "requests",
    failed: "failed",
    "tok/s a request": "output_speed_p50_tokens_per_s",
    "tok/s": "output_throughput_tokens_per_s",
    "req/s": "request_throughput_per_s",
    cached: "cached_share",
    good: "good_share",
  };
  assert.ok(column in keys, `the column ${column} is new: say where the report has it`);
  return { cell: row[keys[column] ?? ""], scale: column === "good" || column === "cached" ? 100 : 1 };
}

/** A cell of the table of sessions. */
function sessionCell(sessions: Row[], level: string, column: string) {
  const keys: Record<string, string> = {
    ...{ sessions: "sessions", completed: "completed", failed: "failed", abandoned: "abandoned", cut: "cut" },
    ...{ turns: "turns", "not sent": "not_sent", "session p50": "session_p50_s", "session p99": "session_p99_s" },
    ...{ "task p50": "task_p50_s", "task p99": "task_p99_s", "waits p50 s": "waits_p50_s" },
  };
  assert.ok(column in keys, `the column ${column} is new: say where the report has it`);
  return { cell: sessions.find((row) => row.level === level)?.[keys[column] ?? ""] };
}

/** A cell of the table of turns; its first column stands to the right, and is the turn. */
function turnCell(row: Row, column: string) {
  const keys: Record<string, string> = {
    ...{ requests: "requests", "input tokens": "input_tokens_mean", cached: "cached_share" },
    ...{ "TTFT p50": "ttft_p50_ms", "TTFT p99": "ttft_p99_ms" },
    "tok/s a request": "output_speed_p50_tokens_per_s",
  };
  assert.ok(column in keys, `the column ${column} is new: say where the report has it`);
  return { cell: row[keys[column] ?? ""], scale: column === "cached" ? 100 : 1 };
}

type Summary = Reported["ended"]["summary"];

const tenth = (value: number) => Math.round(value * 10) / 10;

/** What the server says of a level, or of those that ran at once together. */
const serverOf = ({ levels, server }: Summary, level: string) =>
  level === "together" ? server : levels.find(({ name }) => name === level)?.server;

/** A cell of the table of what the server says of a level, from summary.json. */
function serverCell(summary: Summary, level: string, column: string) {
  const server = serverOf(summary, level);
  const pair = (gauge: { mean: number; max: number } | undefined, shown: (value: number) => string) =>
    gauge && `${shown(gauge.mean)}, ${shown(gauge.max)}`;
  const count = (value: number) => shortNumber(tenth(value));
  const share = (value: number | undefined) => (value === undefined ? undefined : percent(value));
  const cells: Record<string, string | number | undefined> = {
    "running mean, max": pair(server?.running, count),
    "waiting mean, max": pair(server?.waiting, count),
    "KV mean, max": pair(server?.kvUsage, percent),
    preempted: server?.preemptions === undefined ? undefined : count(server.preemptions),
    "prefix hits": share(server?.prefixHitShare),
    "drafts accepted": share(server?.acceptance),
    GPU: share(server?.gpuUse),
    W: server?.powerW,
    "J a token": server?.joulesPerOutputToken,
  };
  assert.ok(column in cells, `the column ${column} is new: say where summary.json has it`);
  return { cell: cells[column] };
}

/** A line of the server's TTFT or ITL beside ours. */
function checkHeld(line: string, summary: Summary, same: Same): void {
  const match = /^(\S+) (TTFT|ITL) +(\S+) +(\S+) +(\S+) +(\S+ to \S+) +(\S+) +(\S+ to \S+) +(\S+) +(\S+) +(\S+)$/.exec(
    line,
  );
  assert.ok(match, line);
  const [, name = "", what, ...shown] = match;
  const server = serverOf(summary, name);
  const held = what === "TTFT" ? server?.ttft : server?.itl;
  assert.ok(held, line);
  const bucket = (of: typeof held.p50Ms) =>
    of && `${shortNumber(of.low)} to ${of.high === undefined ? "more" : shortNumber(of.high)}`;
  const cells = [
    ...[held.meanMs, held.ours.meanMs, held.outsideMs ?? "-", bucket(held.p50Ms), held.ours.p50Ms],
    ...[bucket(held.p99Ms), held.ours.p99Ms, tenth(held.count), held.ours.count],
  ];
  if (held.outsideMs !== undefined) {
    assert.ok(Math.abs(held.ours.meanMs - held.meanMs - held.outsideMs) < 1e-6, line);
  }
  cells.forEach((cell, i) => {
    same(shown[i] ?? "", cell, `${name} ${what} ${i}`);
  });
}

/** A cell of the table of bursts, in the report's table of runs. */
function burstCell(rows: Reported["rows"], level: string, column: string) {
  const keys: Record<string, string> = {
    "released in ms": "release_spread_ms",
    "total s": "batch_total_s",
    "fastest s": "fastest_s",
    "slowest s": "slowest_s",
    "batch input tok/s": "batch_input_tokens_per_s",
    "batch output tok/s": "batch_output_tokens_per_s",
  };
  assert.ok(column in keys, `the column ${column} is new: say where the report has it`);
  return { cell: rows("runs").find((row) => row.level === level)?.[keys[column] ?? ""] };
}

function checkBenchmark(lines: string[], rows: Row[], averages: Row[], same: Same): void {
  const [name = "", ...body] = lines;
  const concurrency = Number(name.replace(/^c/, ""));
  const row = rows.find((each) => each.concurrency === concurrency) ?? {};
  const mixed = averages.find((each) => each.concurrency === concurrency) ?? {};
  const cells: Record<string, [Row[string] | undefined, number?][]> = {
    "Success ratio": [[row.success_ratio, 100]],
    "Total time": [[row.total_time_s]],
    "Steady window": [[row.steady_window_s]],
    "Median request latency": [[row.median_latency_ms, 0.001]],
    "Average request latency": [[row.average_latency_ms, 0.001]],
    "Shortest request latency": [[row.shortest_latency_ms, 0.001]],
    "Longest request latency": [[row.longest_latency_ms, 0.001]],
    "90th, 95th, 99th percentile": [
      [row.p90_latency_ms, 0.001],
      [row.p95_latency_ms, 0.001],
      [row.p99_latency_ms, 0.001],
    ],
    "Requests per second": [[row.requests_per_s]],
    "Average input tokens per request": [[row.average_input_tokens_per_request]],
    "Average output tokens per request": [[row.average_output_tokens_per_request]],
    "... with failures counted as zero": [[mixed.average_input_tokens_mixed], [mixed.average_output_tokens_mixed]],
    "Input token throughput": [[row.input_token_throughput_per_s]],
    "Output token throughput": [[row.output_token_throughput_per_s]],
  };
  for (const line of body) {
    const [, label = "", value = ""] = /^ {2}(\S.*?) {2,}(.*)$/.exec(line) ?? [];
    if (label === "Status codes") {
      assert.equal(value, row.status_codes);
      continue;
    }
    const expected = cells[label];
    assert.ok(expected, `the line ${label} is new: say where the report has it`);
    const shown = value.split(", ").map((each) => each.replace(/ (s|tokens\/s)$/, ""));
    assert.equal(shown.length, expected.length, line);
    expected.forEach(([cell, scale], i) => {
      same(shown[i] ?? "", cell, `${name} ${label}`, scale);
    });
  }
}

/** The rates of the level whose requests were sent least like their schedule, and the schedule's digest. */
function sentCells({ levels, schedule }: Summary): [Row[string] | undefined][] {
  const share = ({ sentRate = 0, scheduledRate = 1 }: (typeof levels)[number]) => sentRate / scheduledRate;
  const [worst] = levels.filter((level) => level.scheduledRate !== undefined).sort((a, b) => share(a) - share(b));
  return [[worst?.sentRate], [worst?.scheduledRate], [schedule?.digest.slice(0, 12)]];
}

/** Lines of text by what they look like, with the cells of their numbers in turn. */
function checkLine(
  line: string,
  row: Row,
  rows: Reported["rows"],
  summary: Reported["ended"]["summary"],
  same: Same,
): void {
  const known: [RegExp, ([cell: Row[string] | undefined, scale?: number] | undefined)[]][] = [
    [/^highest sustained success rate (\S+) requests\/s$/, [[row.highest_success_rate_per_s]]],
    [/^success rate (\S+) requests\/s over \d+ s$/, [[row.highest_success_rate_per_s]]],
    [
      /^requests fail from (\S+) requests\/s scheduled \(second (\d+)\), p95 (\S+) ms there$/,
      [[row.onset_rate_per_s], [row.onset_at_s], [row.onset_p95_ms]],
    ],
    [/^no rate at which requests go on failing$/, []],
    [
      /^all classes together: (\d+) requests, (\d+) failed, (\S+) tok\/s, (\S+) req\/s$/,
      [[row.requests], [row.failed], [row.output_throughput_tokens_per_s], [row.request_throughput_per_s]],
    ],
    [/^failed at the end (\S+ %)$/, [[row.failed_share_at_end, 100]]],
    [
      /^the server falls behind from (\S+) requests\/s scheduled \(second (\d+)\): (\d+) requests are open when the ramp ends$/,
      [[row.falling_behind_rate_per_s], [row.falling_behind_at_s], [row.open_at_end]],
    ],
    [
      /^response time p50 (\S+) ms in the first second, (\S+) ms in the last$/,
      [[row.p50_at_begin_ms], [row.p50_at_end_ms]],
    ],
    [/^input tokens (\d+), generated tokens (\d+)$/, [[row.input_tokens], [row.generated_tokens]]],
    [
      /^e2e (\S+) s = summarization (\S+) s \+ generation (\S+) s$/,
      [[row.e2e_latency_s], [row.summarization_latency_s], [row.generation_latency_s]],
    ],
    [
      /^summarization (\S+) tokens\/s, generation (\S+) tokens\/s, e2e (\S+) tokens\/s$/,
      [
        [row.summarization_throughput_tokens_per_s],
        [row.generation_throughput_tokens_per_s],
        [row.e2e_throughput_tokens_per_s],
      ],
    ],
    [
      /^queue delay: the client waited (\S+) ms on average before it sent a request$/,
      [[row.e2e_latency_s === undefined ? undefined : rows("queueing")[0]?.queue_delay_mean_ms]],
    ],
    [
      /^ingestion (\S+) tokens\/s; TTFT = (\S+) ms \+ (\S+) ms a token$/,
      [[row.ingestion_speed_tokens_per_s], [row.intercept_ms], [row.us_per_token, 0.001]],
    ],
    [/^the fitted line begins at (\S+) ms, below 0: no ingestion speed$/, [[row.intercept_ms]]],
    [/^the fitted line explains (\S+ %) of the differences/, [[row.r2, 100]]],
    [/^sent: \S+ % of the scheduled rate.* \((\S+) of (\S+) requests\/s\)(?:; schedule (\w+))?$/, sentCells(summary)],
    [/^cached input: (\S+ %) of the run's/, [[(summary.total as { cachedShare?: number }).cachedShare, 100]]],
  ];
  for (const [pattern, cells] of known) {
    const match = pattern.exec(line);
    if (!match) continue;
    cells.forEach((each, i) => {
      same(match[i + 1] ?? "", each?.[0], line, each?.[1]);
    });
    return;
  }
  // What the verdict says of limits and of the client is no figure of a scenario, and a server's own message is none either.
  if (
    /^(PASS|FAIL|The exit code is 0 all the same|note:|stamps:|client:|cached input: unknown|\S+ failed: | {2}\S+: )/.test(
      line,
    )
  )
    return;
  assert.ok(!/\d/.test(line), `this line is new: say where the report has its numbers: ${line}`);
}
