/** report.html: one self-contained page, no script, no request to anywhere. Everything that a server said is escaped. */
import type { HostPauses, Pauses } from "../../lib/figures/level-summary";
import { pausesText, stampsText } from "../../lib/outcome/verdict";
import { parseSettings, shownSettings } from "../../lib/settings/settings";
import { settingGroups } from "../../lib/settings/used-settings";
import { escapeHtml, formatMs, formatNumber, formatShare, plural } from "../format";
import type { Results, Validity } from "../read/read";
import type { Answer } from "./answer";
import { chartCss, pictureHtml } from "./chart";
import { tableHtml } from "./table";

const css = `
:root{color-scheme:light dark;--ink:#1f2328;--muted:#59636e;--paper:#fff;--line:#d1d9e0;--soft:#f6f8fa;--good:#1a7f37;--bad:#cf222e;--doubt:#9a6700}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e6edf3;--muted:#9198a1;--paper:#0d1117;--line:#3d444d;--soft:#151b23;--good:#3fb950;--bad:#f85149;--doubt:#d29922}}
*{box-sizing:border-box}
body{margin:0 auto;padding:24px 20px 64px;max-width:1100px;background:var(--paper);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif}
h1{font-size:26px;margin:0 0 4px}h2{font-size:20px;margin:40px 0 8px;padding-bottom:4px;border-bottom:1px solid var(--line)}h3{font-size:16px;margin:24px 0 8px}
p{margin:8px 0;max-width:78ch}p.workload{max-width:none}.muted,.note{color:var(--muted)}.note{font-size:13px}
.verdict{display:flex;flex-wrap:wrap;gap:12px;margin:16px 0}
.verdict div{flex:1 1 260px;border:1px solid var(--line);border-left:6px solid var(--muted);border-radius:6px;padding:10px 14px;background:var(--soft)}
.verdict strong{display:block;font-size:18px}.verdict ul,.damage ul{margin:6px 0 0;padding-left:20px}
.good{border-left-color:var(--good)!important}.good strong{color:var(--good)}
.bad{border-left-color:var(--bad)!important}.bad strong{color:var(--bad)}
.doubt{border-left-color:var(--doubt)!important}.doubt strong{color:var(--doubt)}
.damage{border:1px solid var(--doubt);border-radius:6px;padding:8px 14px;margin:12px 0}
.answer{font-size:17px}.answer p{margin:6px 0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;margin:4px 0}
th,td{padding:4px 10px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap;vertical-align:bottom}
th{white-space:normal}
td.text,th:first-child,td:first-child{text-align:left}td.wrap{white-space:pre-wrap;overflow-wrap:anywhere;text-align:left;max-width:70ch}
th{background:var(--soft);font-weight:600}th small{display:block;font-weight:400;color:var(--muted)}
figure{margin:16px 0}svg{display:block;height:auto}
.pictures{display:grid;gap:8px}
details{margin:16px 0}summary{cursor:pointer;font-weight:600}
@media print{body{max-width:none;padding:0;font-size:11px}h2{break-after:avoid}figure,tr,.verdict{break-inside:avoid}.scroll{overflow:visible}table{font-size:11px}th,td{padding:2px 5px}}
`;

function list(items: string[]): string {
  return items.length === 0 ? "" : `<ul>${items.map((item) => `<li>${escapeHtml(item)}</li>`).join("")}</ul>`;
}

const validityClass: Record<Validity["state"], string> = {
  VALID: "good",
  "CLIENT-BOUND": "doubt",
  "CACHE-BOUND": "doubt",
  "NOT-MEASURED": "bad",
  UNJUDGED: "doubt",
};

function verdictHtml(run: Results): string {
  const { summary } = run;
  const validity = summary?.validity ?? run.end?.validity;
  const state = validity?.state ?? summary?.verdict.validity ?? "NOT-MEASURED";
  const explained: Record<string, string> = {
    VALID: "The client kept up: what was measured is the server.",
    "CLIENT-BOUND": "The client could not keep up: its own delay is in these numbers, and no gate may pass on them.",
    "CACHE-BOUND":
      "The server's prefix cache knew the prompts of a run that was meant to be cold: these numbers are of the cache, and no gate may pass on them.",
    "NOT-MEASURED": "The server was not measured.",
    UNJUDGED: "Measured through xk6-sse, which cannot tell whether the client kept up.",
  };
  const pass = summary?.verdict.pass;
  const verdict =
    pass === undefined
      ? `<div class="doubt" id="verdict"><strong>NO VERDICT</strong>The run wrote no summary; what follows is folded from its records.</div>`
      : `<div class="${pass ? "good" : "bad"}" id="verdict"><strong>${pass ? "PASSED" : "FAILED"}</strong>${
          pass ? "Every threshold was met." : "At least one threshold was not met."
        }${list(summary?.verdict.reasons ?? [])}</div>`;
  const reasons = list([...(validity?.reasons ?? []), ...(validity?.notes ?? []).map((note) => `Note: ${note}`)]);
  return `<div class="verdict">${verdict}<div class="${validityClass[state as Validity["state"]] ?? "bad"}" id="validity"><strong>${escapeHtml(state)}</strong>${
    explained[state] ?? ""
  }${reasons}</div></div>${list((summary?.notes ?? []).map((note) => `Note: ${note}`))}`;
}

function definitionTable(id: string, rows: [string, string][]): string {
  const body = rows
    .map(([name, value]) => `<tr><td>${escapeHtml(name)}</td><td class="wrap">${escapeHtml(value)}</td></tr>`)
    .join("\n");
  return `<div class="scroll"><table id="${id}"><tbody>\n${body}\n</tbody></table></div>`;
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

function validityRows(validity: Validity): [string, string][] {
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

const settingRows = (values: Record<string, unknown>): [string, string][] =>
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
function workloadWords({ scenario, config }: Results): string[] {
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

function settingsHtml(run: Results, id: string): string {
  const names = Object.keys(run.config);
  const rows = (wanted: boolean) =>
    settingRows(
      Object.fromEntries(names.flatMap((name) => (matters(run, name) === wanted ? [[name, run.config[name]]] : []))),
    );
  const rest = rows(false);
  const folded = `<details><summary>${plural(rest.length, "setting")} at the default</summary>${definitionTable(`settings-rest${id}`, rest)}</details>`;
  return `${definitionTable(`settings${id}`, rows(true))}${rest.length > 0 ? folded : ""}`;
}

/** The page of a run, or of several runs that one answer covers. */
export function pageHtml(runs: [Results, ...Results[]], answer: Answer): string {
  const [run] = runs;
  const many = runs.length > 1;
  const startedMs = (run.run?.startUnixNs ?? 0) / 1e6;
  const subtitle = [
    many ? runs.map(({ name }, index) => `${"AB"[index] ?? index + 1}: ${name}`).join("   ") : run.name,
    startedMs > 0 ? new Date(startedMs).toISOString().replace("T", " ").slice(0, 19).concat(" UTC") : "",
  ].filter((text) => text !== "");
  // Two versions may run at two addresses; what is the same for both is said once.
  const workloads = [...new Set(runs.map((each) => workloadWords(each).join(" · ")))].filter((words) => words !== "");
  const verdicts = runs
    .map((each) => `${many ? `<h3>${escapeHtml(each.name)}</h3>` : ""}${verdictHtml(each)}${damageHtml(each)}`)
    .join("\n");
  const sections = answer.sections
    .filter(({ tables, pictures, text }) => tables.length + pictures.length + (text?.length ?? 0) > 0)
    .map(
      ({ heading, text, tables, pictures }) => `<section><h2>${escapeHtml(heading)}</h2>
${(text ?? []).map((words) => `<p>${escapeHtml(words)}</p>`).join("\n")}
${tables
  .filter(({ folded }) => !folded)
  .map(tableHtml)
  .join("\n")}
<div class="pictures">${pictures.map(pictureHtml).join("\n")}</div>
${tables
  .filter(({ folded }) => folded)
  .map(tableHtml)
  .join("\n")}</section>`,
    )
    .join("\n");
  const facts = runs.map((each) => factsHtml(each, many)).join("\n");
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>${escapeHtml(run.scenario)} – ${escapeHtml(run.name)}</title>
<style>${css}${chartCss()}</style>
</head>
<body>
<header><h1>${escapeHtml(run.scenario)}</h1><p class="muted">${subtitle.map(escapeHtml).join(" · ")}</p>
${workloads.map((words) => `<p class="workload">${escapeHtml(words)}</p>`).join("\n")}
${verdicts}</header>
<main>
<section class="answer" id="answer">${answer.sentences.map((sentence) => `<p>${escapeHtml(sentence)}</p>`).join("\n")}</section>
${sections}
${facts}
</main>
</body>
</html>
`;
}

function damageHtml(run: Results): string {
  return run.damage.length === 0 ? "" : `<div class="damage"><strong>Read with care</strong>${list(run.damage)}</div>`;
}

function factsHtml(run: Results, many: boolean): string {
  const validity = run.summary?.validity ?? run.end?.validity;
  const suffix = many ? `: ${escapeHtml(run.name)}` : "";
  const id = many ? `-${escapeHtml(run.name)}` : "";
  const versions = run.summary?.versions ?? run.run?.versions ?? {};
  return `${validity ? `<section><h2>How well the client measured${suffix}</h2>${definitionTable(`client${id}`, validityRows(validity))}</section>` : ""}
<section><h2>Settings${suffix}</h2>${settingsHtml(run, id)}</section>
<section><h2>Versions${suffix}</h2>${definitionTable(`versions${id}`, settingRows(versions))}</section>`;
}
