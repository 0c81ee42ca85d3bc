/**
 * Prefill and decode apart: the same prompts once with the full output length and once with one output token. What the
 * second phase takes is prefill (summarization), the rest of the first is decode (generation).
 */
import { meanPhaseSplit, type PhaseSplit, phaseSplit } from "../../../lib/figures/phase-split";
import { formatMs, formatNumber, formatShare } from "../../format";
import { type GaugeFigures, gauge, gaugeFigures, thinned, within } from "../../read/gauges";
import type { LevelSummary, Results, Rows, Stats } from "../../read/read";
import { e2eMs, steadyRows, tpotMs, ttftMs } from "../../read/request";
import { ascending, greatest, least, mean, quantile } from "../../statistics";
import type { Answer } from "../answer";
import { draw, drawCurves, type Picture } from "../chart";
import type { Cell, Table } from "../table";
import { failureSentence, failuresTable, levelFigures, percentilesTable, present, statusTable } from "./levels";

/** A phase, and the run it was measured in: the two may be runs of their own. */
interface Phase {
  run: Results;
  level: LevelSummary;
  completed: Rows;
}

function phaseOf(runs: readonly Results[], name: string): Phase | undefined {
  for (const run of runs) {
    const level = run.levelSummaries.find((each) => each.name === name);
    const completed = steadyRows(run, name).filter((row) => row.completed);
    if (level && completed.length > 0) return { run, level, completed };
  }
  return undefined;
}

const splitRow = (what: string, split: PhaseSplit): Record<string, Cell> => ({
  what,
  input_tokens: split.inputTokens,
  generated_tokens: split.outputTokens,
  e2e_latency_s: split.e2eLatencyS,
  summarization_latency_s: split.summarizationLatencyS,
  generation_latency_s: split.generationLatencyS,
  summarization_throughput_tokens_per_s: split.summarizationThroughput,
  e2e_throughput_tokens_per_s: split.e2eThroughput,
  generation_throughput_tokens_per_s: split.generationThroughput ?? null,
});

interface Queueing {
  /** The queue delay of every request that was sent, as the run prints it. */
  delay: Stats;
  waiting?: GaugeFigures;
  running?: GaugeFigures;
}

function queueingOf(phase: Phase): Queueing {
  const level = phase.run.levels.find(({ name }) => name === phase.level.name);
  const fromNs = level?.openNs ?? least(phase.completed.numbers((row) => row.sentNs));
  const toNs = level?.endNs ?? greatest(phase.completed.numbers((row) => row.endNs));
  const figures = (name: "waiting" | "running") => gaugeFigures(within(gauge(phase.run.points, name), fromNs, toNs));
  return {
    delay: phase.level.queueDelayMs,
    waiting: figures("waiting"),
    running: figures("running"),
  };
}

export function prefillDecode(runs: [Results, ...Results[]]): Answer {
  const full = phaseOf(runs, "full");
  const prefill = phaseOf(runs, "prefill");
  const levels = runs.flatMap((run) => run.levelSummaries);
  const details = {
    heading: "Details",
    pictures: [],
    tables: present([
      failuresTable(levels),
      statusTable(levels),
      levels.length > 0 ? levelFigures(levels) : undefined,
      levels.length > 0 ? percentilesTable(levels) : undefined,
    ]),
  };
  if (!full || !prefill) {
    const missing = [full ? "" : "full", prefill ? "" : "prefill"].filter(Boolean).join(" and ");
    return {
      sentences: [
        `Prefill and decode cannot be told apart: no completed request of phase ${missing}. Name the other phase's folder as well if the phases ran apart.`,
        failureSentence(levels),
      ],
      sections: [details],
      files: [],
    };
  }
  const whole = phaseSplit(full.level, prefill.level);
  const each = meanPhaseSplit(full.level, prefill.level);
  const queueing = [
    ["full", queueingOf(full)],
    ["prefill", queueingOf(prefill)],
  ] as [string, Queueing][];
  return {
    sentences: [
      ...sentences(whole, full.level, queueing),
      ...differences(full.level, prefill.level),
      failureSentence(levels),
    ],
    sections: [
      {
        heading: "Prefill and decode",
        text: [
          "Summarization latency is the e2e latency of the phase with one output token; generation latency is the e2e latency of the full phase less that. Summarization throughput = input tokens / summarization latency; e2e throughput = generated tokens / e2e latency; generation throughput = generated tokens / generation latency.",
        ],
        tables: [splitTable(whole, each), latencyTable(full, prefill)],
        pictures: [splitPicture(each)],
      },
      {
        heading: "Queueing",
        text: [
          "What a request waited before the server worked on it, in the client (queue delay) and in the server (its own gauge of waiting requests). Waiting in the server is part of every latency above.",
        ],
        tables: [queueTable(queueing)],
        pictures: queuePictures(full, prefill),
      },
      details,
    ],
    files: [],
  };
}

function sentences(whole: PhaseSplit, full: LevelSummary, queueing: [string, Queueing][]): string[] {
  const share = whole.summarizationLatencyS / whole.e2eLatencyS;
  const waits = queueing.map(([phase, { waiting }]) =>
    waiting
      ? `${formatNumber(waiting.mean)} on average (highest ${formatNumber(waiting.max)}) in phase ${phase}`
      : `not served in phase ${phase}`,
  );
  return [
    `The ${formatNumber(full.completed)} prompts (${formatNumber(whole.inputTokens)} input tokens) took ${formatNumber(whole.e2eLatencyS)} s for ${formatNumber(whole.outputTokens)} generated tokens: ${formatNumber(whole.summarizationLatencyS)} s (${formatShare(share)}) prefill, ${formatNumber(whole.generationLatencyS)} s generation.`,
    `Prefill runs at ${formatNumber(whole.summarizationThroughput)} input tokens/s, generation at ${formatNumber(whole.generationThroughput)} output tokens/s, both together deliver ${formatNumber(whole.e2eThroughput)} output tokens/s.`,
    `Requests waiting in the server: ${waits.join(", ")}.`,
  ];
}

/** What would make the two phases incomparable, in words. */
function differences(full: LevelSummary, prefill: LevelSummary): string[] {
  const found: string[] = [];
  if (full.completed !== prefill.completed) {
    found.push(`the phases completed different numbers of requests (${full.completed} and ${prefill.completed})`);
  } else if (full.inputTokens !== prefill.inputTokens) {
    found.push(`the phases had different input (${full.inputTokens} and ${prefill.inputTokens} tokens)`);
  }
  if (prefill.outputTokens !== prefill.completed)
    found.push("the prefill phase did not generate exactly one token a request");
  return found.length === 0 ? [] : [`Read with care: ${found.join("; ")}.`];
}

function splitTable(whole: PhaseSplit, each: PhaseSplit): Table {
  return {
    name: "prefill_decode",
    title: "Two phases",
    note: "All prompts: totals, and the time from the first send to the last output of a phase. One request: means. Both of completed requests only.",
    columns: [
      { key: "what", title: "" },
      { key: "input_tokens", title: "Input tokens" },
      { key: "generated_tokens", title: "Generated tokens" },
      { key: "e2e_latency_s", title: "E2e latency", unit: "s" },
      { key: "summarization_latency_s", title: "Summarization latency", unit: "s" },
      { key: "generation_latency_s", title: "Generation latency", unit: "s" },
      { key: "summarization_throughput_tokens_per_s", title: "Summarization", unit: "tokens/s" },
      { key: "e2e_throughput_tokens_per_s", title: "E2e", unit: "tokens/s" },
      { key: "generation_throughput_tokens_per_s", title: "Generation", unit: "tokens/s" },
    ],
    rows: [splitRow("all prompts", whole), splitRow("one request, mean", each)],
  };
}

function latencyTable(full: Phase, prefill: Phase): Table {
  const metrics: [string, (phase: Phase) => Float64Array][] = [
    ["TTFT", (phase) => phase.completed.numbers(ttftMs)],
    ["TPOT", (phase) => phase.completed.numbers(tpotMs)],
    ["e2e latency", (phase) => phase.completed.numbers(e2eMs)],
  ];
  return {
    name: "phase_latencies",
    title: "Latencies of the phases",
    columns: [
      { key: "phase", title: "Phase" },
      { key: "metric", title: "Metric" },
      ...(["mean", "p50", "p90", "p95", "p99", "max"] as const).map((name) => ({
        key: `${name}_ms`,
        title: name,
        unit: "ms",
      })),
    ],
    rows: [full, prefill].flatMap((phase) =>
      metrics.flatMap(([metric, of]) => {
        const values = ascending(of(phase));
        if (values.length === 0) return [];
        return [
          {
            phase: phase.level.name,
            metric,
            mean_ms: mean(values),
            p50_ms: quantile(values, 0.5),
            p90_ms: quantile(values, 0.9),
            p95_ms: quantile(values, 0.95),
            p99_ms: quantile(values, 0.99),
            max_ms: values.at(-1) as number,
          },
        ];
      }),
    ),
  };
}

function queueTable(queueing: [string, Queueing][]): Table {
  return {
    name: "queueing",
    title: "Queueing",
    note: "A dash: the server's metrics were not polled, or do not have this gauge.",
    columns: [
      { key: "phase", title: "Phase" },
      { key: "queue_delay_mean_ms", title: "Queue delay in the client, mean", unit: "ms" },
      { key: "queue_delay_p99_ms", title: "p99", unit: "ms" },
      { key: "waiting_mean", title: "Waiting in the server, mean", unit: "requests" },
      { key: "waiting_max", title: "highest", unit: "requests" },
      { key: "waiting_share", title: "Time with requests waiting", format: "share" },
      { key: "running_mean", title: "Running, mean", unit: "requests" },
      { key: "running_max", title: "highest", unit: "requests" },
    ],
    rows: queueing.map(([phase, { delay, waiting, running }]) => ({
      phase,
      queue_delay_mean_ms: delay.mean,
      queue_delay_p99_ms: delay.p99,
      waiting_mean: waiting?.mean ?? null,
      waiting_max: waiting?.max ?? null,
      waiting_share: waiting?.busyShare ?? null,
      running_mean: running?.mean ?? null,
      running_max: running?.max ?? null,
    })),
  };
}

function splitPicture(each: PhaseSplit): Picture {
  return draw({
    name: "prefill-decode",
    title: `One request, mean: ${formatMs(each.e2eLatencyS * 1000)}`,
    alt: "Mean latency of one request, split into prefill and generation",
    panels: [
      {
        x: { title: "", categories: ["prefill (summarization)", "generation", "e2e"] },
        y: { title: "Latency (ms)", min: 0 },
        height: 200,
        series: [
          {
            name: "latency",
            kind: "bar",
            points: [each.summarizationLatencyS, each.generationLatencyS, each.e2eLatencyS].map((s, i) => [
              i,
              s * 1000,
            ]),
            labels: [each.summarizationLatencyS, each.generationLatencyS, each.e2eLatencyS].map((s) =>
              formatMs(s * 1000),
            ),
          },
        ],
      },
    ],
  });
}

function queuePictures(full: Phase, prefill: Phase): Picture[] {
  const runs = [...new Set([full.run, prefill.run])];
  return runs.flatMap((run, index) => {
    const waiting = thinned(gauge(run.points, "waiting"));
    const running = thinned(gauge(run.points, "running"));
    if (waiting.length + running.length === 0) return [];
    const phases = [full, prefill].filter((phase) => phase.run === run);
    return drawCurves({
      name: runs.length > 1 ? `queueing-${index === 0 ? "a" : "b"}` : "queueing",
      title: "Requests running and waiting in the server",
      alt: "The server's gauges of running and waiting requests over time",
      panels: [
        {
          x: { title: "Time since the run began (s)" },
          y: { title: "Requests", min: 0 },
          height: 200,
          marks: phases.map((phase) => [least(phase.completed.numbers((row) => row.sentNs)) / 1e9, phase.level.name]),
          series: [
            {
              name: "running",
              kind: "step",
              symbols: false,
              points: running.map(({ tNs, value }) => [tNs / 1e9, value]),
            },
            {
              name: "waiting",
              kind: "step",
              symbols: false,
              color: 1,
              points: waiting.map(({ tNs, value }) => [tNs / 1e9, value]),
            },
          ],
        },
      ],
    });
  });
}
