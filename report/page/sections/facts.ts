/** What the page says of a run beside its results: how the client measured, settings, and how to repeat it. */
import type { HostPauses, Pauses } from "../../../lib/figures/level-summary";
import { metrics } from "../../../lib/figures/metrics-table";
import { pausesText, stampsText } from "../../../lib/outcome/verdict";
import { parseSettings } from "../../../lib/settings/parse-settings";
import { type SettingName, settings, shownSettings } from "../../../lib/settings/settings";
import { settingGroups } from "../../../lib/settings/used-settings";
import { formatMs, formatNumber, formatShare, plural } from "../../format";
import type { Results, Validity } from "../../read/read";
import { type Html, html } from "../markup";

/** A table of names and values, folded into lines on a narrow screen. */
export function definitionTable(id: string, rows: readonly [unknown, unknown][]): Html {
  return html`<div class="scroll"><table class="facts" id="${id}"><tbody>\n${rows.map(
    ([name, value]) => html`<tr><td>${name}</td><td class="wrap">${value}</td></tr>\n`,
  )}</tbody></table></div>`;
}

function pauseRows(pauses: HostPauses, where: string): [string, string][] {
  const rows: [string, Pauses | undefined][] = [
    ["Client stopped", pauses.stoppedMs],
    ["Machine suspended", pauses.suspendedMs],
    ["Client throttled by its CPU quota (all processors)", pauses.throttledMs],
    ["Processor time that the hypervisor took (whole machine)", pauses.stolenMs],
  ];
  return rows.map(([name, of]) => [`${name}${where}`, of ? pausesText(of) : "–"]);
}

export function validityRows(validity: Validity): [string, string][] {
  const { ring, hostLevels = [] } = validity;
  return [
    ["Arrival times from", stampsText(validity) || "–"],
    ...(ring
      ? ([
          [
            "Packets that the packet ring dropped",
            `${formatNumber(ring.drops)} of ${formatNumber(ring.packets + ring.drops)}`,
          ],
          ["Requests that sockets stamped in part", formatNumber(ring.mixedRequests)],
          [
            "Packets that came twice, or out of order",
            `${formatNumber(ring.duplicates)}, ${formatNumber(ring.reordered)}`,
          ],
        ] satisfies [string, string][])
      : []),
    ...pauseRows(validity, ""),
    ...hostLevels.flatMap(({ name, ...pauses }) =>
      pauseRows(pauses, `, level ${name}`).filter(([, text]) => text !== "–" && text !== "none"),
    ),
    ["Scheduling lag of the client, p99", formatMs(validity.schedulingLagMs?.p99)],
    ["Queue delay of requests in the client, p99", formatMs(validity.queueDelayMs?.p99)],
    ["Uncertainty of send times, p99", formatMs(validity.sendUncertaintyMs?.p99)],
    ["Arrivals stamped by the kernel", formatShare(validity.kernelStampShare)],
    ["Chunks that shared a receive", formatShare(validity.coalescedShare)],
    ["Uncertainty of arrivals, p99 of the chunks", formatMs(validity.arrivalUncertaintyMs?.p99)],
    ["Requests with a latency below zero (clock errors)", formatNumber(validity.clockErrors)],
    ["Time that the reader thread waited for a core", formatShare(validity.readerWaitShare)],
    ["Reader of the streams", [validity.reader ?? "not known", validity.readerClass].filter(Boolean).join(", ")],
    ["Steps of the wall clock", formatNumber(validity.clockSteps)],
    ["CPU use of the client, of all cores", formatShare(validity.cpuShare)],
    ["Dropped iterations", formatNumber(validity.droppedIterations)],
    ["Retries on a closed idle connection", formatNumber(validity.retriedOnReuse)],
  ];
}

const valueText = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

export const settingRows = (values: Record<string, unknown>): [string, string][] =>
  Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => [name, valueText(value)]);

/** Settings that say what was asked of which server, and those that make the load. */
const general = ["BASE_URL", "API", "MODEL", "INPUT_TOKENS", "OUTPUT_TOKENS", "SEED", "THRESHOLDS", "WARMUP"];
const { levels, arrivals, bursts, phases } = settingGroups;
const ofLoad: readonly string[] = [
  ...general,
  ...levels,
  ...arrivals,
  ...bursts,
  ...phases,
  ...["REFILL", "LENGTHS", "INPUT_LENGTHS", "SPEED_THRESHOLD"],
];
const defaults = shownSettings(parseSettings({}, {}));

/** Whether a setting says something of a run: a run has those that its scenario uses. The others are mostly as they always are. */
function matters(run: Results, name: string): boolean {
  return ofLoad.includes(name) || JSON.stringify(run.config[name]) !== JSON.stringify(defaults[name]);
}

/** Server, model, API and lengths, as far as the settings say them. */
export function workloadWords({ scenario, config }: Results): string[] {
  const text = (name: string): string => valueText(config[name] ?? "");
  const api = text("API");
  const inputTokens = text(scenario === "prompt-ingestion" ? "INPUT_LENGTHS" : "INPUT_TOKENS");
  const lengths = [
    inputTokens && `input ${inputTokens} tokens`,
    api !== "embeddings" && text("OUTPUT_TOKENS") ? `output ${text("OUTPUT_TOKENS")} tokens` : "",
  ];
  const source = text("TRACE") || text("DATASET");
  const given = source ? [`prompts of ${source}`] : text("LENGTHS") ? [`lengths ${text("LENGTHS")}`] : lengths;
  return [
    text("BASE_URL") && `Server ${text("BASE_URL")}`,
    text("MODEL") && `model ${text("MODEL")}`,
    api && `API ${api}`,
    ...(api === "json" ? [] : given),
  ].filter((words) => words !== "");
}

export function settingsHtml(run: Results, id: string): Html {
  const names = Object.keys(run.config);
  const rows = (wanted: boolean) =>
    settingRows(
      Object.fromEntries(names.flatMap((name) => (matters(run, name) === wanted ? [[name, run.config[name]]] : []))),
    );
  const rest = rows(false);
  return html`${definitionTable(`settings${id}`, rows(true))}${
    rest.length > 0 &&
    html`<details><summary>${plural(rest.length, "setting")} at the default</summary>${definitionTable(`settings-rest${id}`, rest)}</details>`
  }`;
}

/** Every metric with its definition and which tools mean the same. */
export function definitionsHtml(): Html {
  const rows = Object.entries(metrics).map(([name, { unit, definition, sameAs }]): [Html, string] => [
    html`${name} <small>${unit}</small>`,
    sameAs === "" ? definition : `${definition} The same as: ${sameAs}`,
  ]);
  return html`<section><h2>Definitions</h2><details><summary>What each metric means, and which tools mean the same</summary>${definitionTable("definitions", rows)}</details></section>`;
}

/** Settings that belong to one run, or to the machine that it ran on. */
const ofOneRun: readonly string[] = ["RESULTS", "SALT", "SIMULATE", "API_KEY"];

/** A word for a POSIX shell. */
export const shellWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;

/**
 * The command that repeats a run: each setting that has another value than its default, in the form that is read again.
 * `left` names the settings of which the run holds no such form.
 */
function repeatCommand(run: Results): { command: string; left: string[] } {
  const left: string[] = [];
  const words = Object.entries(run.config).flatMap(([name, value]) => {
    if (ofOneRun.includes(name) || JSON.stringify(value) === JSON.stringify(defaults[name])) return [];
    if (!Object.hasOwn(settings, name) || value === undefined || value === null) return [];
    const text = Array.isArray(value) ? value.map(String).join(",") : valueText(value);
    const setting = settings[name as SettingName] as { parse(text: string): unknown; show(value: never): unknown };
    try {
      const read = setting.parse(text);
      const again = read === undefined ? undefined : setting.show(read as never);
      if (again !== undefined && (JSON.stringify(again) === JSON.stringify(value) || again === text))
        return [`-e ${shellWord(`${name}=${text}`)}`];
    } catch {
      // It is left out, and named.
    }
    if (text !== "") left.push(name);
    return [];
  });
  const simulated = String(run.config.SIMULATE) === "true";
  const shown = simulated ? ["-e SIMULATE=true", ...words.filter((word) => !word.startsWith("-e BASE_URL="))] : words;
  return { command: [`npm start ${run.scenario} --`, ...shown].join(" \\\n  "), left };
}

const time = (ms: number): string =>
  ms > 0 ? `${new Date(ms).toISOString().replace("T", " ").slice(0, 19)} UTC` : "–";

/** How to repeat a run: the command, when it ran and for how long, where, and with which files. */
export function repeatHtml(run: Results, id: string): Html {
  const { command, left } = repeatCommand(run);
  const startMs = (run.run?.startUnixNs ?? 0) / 1e6;
  const endS = (run.end?.endNs ?? 0) / 1e9;
  const digests = Object.entries(run.summary?.digests ?? run.run?.digests ?? {});
  const rows: [string, unknown][] = [
    ["Command", html`<pre>${command}</pre>`],
    ...(left.length > 0 ? [["Not in the command", `${left.join(", ")}: see the settings`] as [string, string]] : []),
    ["Keys", "A key is never saved: set API_KEY in the environment."],
    ["Started", time(startMs)],
    ["Ended", endS > 0 && startMs > 0 ? time(startMs + 1000 * endS) : "–"],
    ["Duration", endS > 0 ? `${formatNumber(endS)} s` : "–"],
    ["How it ended", run.summary?.ended ?? run.end?.ended ?? "not known"],
    ["Server", valueText(run.config.BASE_URL ?? "–")],
    ["Client", (run.summary?.versions ?? run.run?.versions)?.os ?? "–"],
    ...digests.map(([name, digest]): [string, string] => [`sha256 of ${name}`, digest]),
  ];
  return definitionTable(`repeat${id}`, rows);
}
