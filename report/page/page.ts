/**
 * report.html: one self-contained page that asks nobody for anything. Its one script runs by the hash in the page's policy,
 * and without it everything can still be read. Everything that a server wrote is escaped.
 */
import type { Results, Summary, Validity } from "../read/read";
import type { Answer, Section } from "./answer";
import { chartCss, type Picture, pictureHtml } from "./chart";
import { type Html, html, raw } from "./markup";
import { pageScript } from "./script";
import {
  definitionsHtml,
  definitionTable,
  repeatHtml,
  settingRows,
  settingsHtml,
  validityRows,
  workloadWords,
} from "./sections/facts";
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
td.text,th.text,th:first-child,td:first-child{text-align:left}td.wrap{white-space:pre-wrap;overflow-wrap:anywhere;text-align:left;max-width:70ch}
th{background:var(--soft);font-weight:600}th small{display:block;font-weight:400;color:var(--muted)}
td.text.wrap{min-width:28ch}
figure{margin:16px 0;min-width:0}.still{overflow-x:auto}.still svg{display:block;height:auto;min-width:560px}
.live{display:none}.is-live .live{display:block}@media screen{figure.is-live{max-width:none!important}}.is-live .still{display:none}
figcaption{display:flex;justify-content:space-between;align-items:center;gap:8px}
.plot{position:relative;width:100%}.plot:focus-visible,button:focus-visible,.scroll:focus-visible,summary:focus-visible,a:focus-visible{outline:2px solid var(--chart-series0);outline-offset:2px}
.tools{display:flex;gap:4px}.tools button,.legend button{font:12px/1.4 inherit;font-family:inherit;color:var(--ink);background:var(--soft);border:1px solid var(--line);border-radius:4px;padding:2px 8px;cursor:pointer;min-height:26px}
.tools button{min-width:28px}.legend{display:flex;flex-wrap:wrap;gap:4px 6px;margin:6px 0}.legend i{display:inline-block;width:18px;height:0;margin:0 6px 3px 0}
.legend button[aria-pressed=false]{opacity:.45;text-decoration:line-through}
.selected{display:none;position:absolute;top:0;bottom:0;background:var(--chart-series0);opacity:.15;pointer-events:none}
.announced{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);margin:0}figure{position:relative}
nav{display:flex;flex-wrap:wrap;gap:4px 16px;margin:20px 0;font-size:14px}a{color:var(--chart-series0)}
pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font:12px/1.5 ui-monospace,Consolas,monospace}
.pictures{display:grid;gap:8px;grid-template-columns:minmax(0,1fr)}
details{margin:16px 0}summary{cursor:pointer;font-weight:600}
@media screen and (max-width:640px){body{padding:12px 12px 48px}.verdict div{flex-basis:100%}table.facts,table.facts tbody,table.facts tr,table.facts td{display:block;width:auto}table.facts td{border:0;padding:0;white-space:normal;overflow-wrap:anywhere;max-width:none}table.facts tr{border-bottom:1px solid var(--line);padding:6px 0}table.facts td:first-child{color:var(--muted);font-size:12px}.scroll td:first-child,.scroll th:first-child{position:sticky;left:0}.scroll td:first-child{background:var(--paper)}}
@media print{nav,.live{display:none!important}details::details-content{content-visibility:visible;block-size:auto}.is-live .still{display:block!important}.still{overflow:visible}.still svg{min-width:0}body{max-width:none;padding:0;font-size:11px}h2{break-after:avoid}figure,tr,.verdict{break-inside:avoid}.scroll{overflow:visible}table{font-size:11px}th,td{padding:2px 5px}td.text.wrap{min-width:14ch}}
`;

const list = (items: readonly unknown[]): Html | undefined =>
  items.length === 0 ? undefined : html`<ul>${items.map((item) => html`<li>${item}</li>`)}</ul>`;

const validityClass: Record<Validity["state"], string> = {
  VALID: "good",
  "CLIENT-BOUND": "doubt",
  "CACHE-BOUND": "doubt",
  "NOT-MEASURED": "bad",
  UNJUDGED: "doubt",
};

const explained: Record<string, string> = {
  VALID: "The client kept up: the numbers are those of the server.",
  "CLIENT-BOUND": "The client could not keep up: its own delay is in these numbers, and no gate may pass on them.",
  "CACHE-BOUND":
    "The server's prefix cache knew the prompts of a run that was meant to be cold: these numbers are those of the cache, and no gate may pass on them.",
  "NOT-MEASURED": "The server was not measured.",
  UNJUDGED: "Measured through xk6-sse, which cannot tell whether the client kept up.",
};

/** The verdict's word and what it means. A run can be no pass without a violated threshold, as one that is CLIENT-BOUND. */
function verdictWords(pass: boolean, thresholds: Summary["thresholds"]): [word: string, meaning: string] {
  // Summaries of earlier versions do not list them.
  if (pass) return ["PASSED", thresholds?.length === 0 ? "No threshold was judged." : "Every threshold passed."];
  const violated = thresholds?.some(({ result }) => result === "violated") ?? true;
  return violated
    ? ["FAILED", "At least one threshold is violated."]
    : ["NO PASS", "No threshold is violated, but the run is no evidence that the server keeps them."];
}

function verdictHtml(run: Results, id: string): Html {
  const { summary } = run;
  const validity = summary?.validity ?? run.end?.validity;
  const state = validity?.state ?? summary?.verdict.validity ?? "NOT-MEASURED";
  const pass = summary?.verdict.pass;
  const judged = summary?.thresholds ?? [];
  const passed = judged.filter(({ result }) => result === "passed").length;
  const counted = judged.length > 0 && ` ${passed} of ${judged.length} thresholds passed.`;
  const [word, meaning] = verdictWords(pass === true, summary?.thresholds);
  const verdict =
    pass === undefined
      ? html`<div class="doubt" id="verdict${id}"><strong>NO VERDICT</strong>The run wrote no summary; what follows is folded from its records.</div>`
      : html`<div class="${pass ? "good" : "bad"}" id="verdict${id}"><strong>${word}</strong>${meaning}${counted}${list(
          summary?.verdict.reasons ?? [],
        )}</div>`;
  const reasons = list([...(validity?.reasons ?? []), ...(validity?.notes ?? []).map((note) => `Note: ${note}`)]);
  return html`<div class="verdict">${verdict}<div class="${validityClass[state] ?? "bad"}" id="validity${id}"><strong>${state}</strong>${
    explained[state]
  }${reasons}</div></div>${list((summary?.notes ?? []).map((note) => `Note: ${note}`))}`;
}

const damageHtml = ({ damage }: Results): Html | false =>
  damage.length > 0 && html`<div class="damage"><strong>Read with care</strong>${list(damage)}</div>`;

export function sectionHtml({ heading, text = [], tables, pictures }: Section): Html | false {
  if (tables.length + pictures.length + text.length === 0) return false;
  return html`<section id="${sectionId(heading)}"><h2>${heading}</h2>
${text.map((words) => html`<p>${words}</p>\n`)}${tables.filter(({ folded }) => !folded).map(tableHtml)}
<div class="pictures">${pictures.map(pictureHtml)}</div>
${tables.filter(({ folded }) => folded).map(tableHtml)}</section>
`;
}

const sectionId = (heading: string): string => `section-${heading.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;

/** Links to the sections of a page. */
export function navHtml(sections: readonly Section[]): Html {
  return html`<nav aria-label="Sections">${sections.map(({ heading }) => html`<a href="#${sectionId(heading)}">${heading}</a> `)}</nav>`;
}

function factsHtml(run: Results, many: boolean): Html {
  const validity = run.summary?.validity ?? run.end?.validity;
  const suffix = many && `: ${run.name}`;
  const id = many ? `-${run.name}` : "";
  const versions = run.summary?.versions ?? run.run?.versions ?? {};
  return html`${
    validity &&
    html`<section><h2>How well the client measured${suffix}</h2>${definitionTable(`client${id}`, validityRows(validity))}</section>`
  }
<section><h2>How to repeat it${suffix}</h2>${repeatHtml(run, id)}</section>
<section><h2>Settings${suffix}</h2>${settingsHtml(run, id)}</section>
<section><h2>Versions${suffix}</h2>${definitionTable(`versions${id}`, settingRows(versions))}</section>
`;
}

/** What the page's script draws, as JSON that cannot end its element. */
function specsJson(pictures: readonly Picture[]): string {
  return JSON.stringify(Object.fromEntries(pictures.map(({ name, spec }) => [name, spec]))).replaceAll("<", "\\u003c");
}

/** A whole page: head, policy, styles, body, script. */
export function documentHtml(title: string, body: Html, pictures: readonly Picture[]): string {
  const { code, hash } = pageScript();
  const policy = `default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src '${hash}'`;
  const live =
    pictures.length > 0 &&
    html`<script type="application/json" id="charts">${raw(specsJson(pictures))}</script>
<script>${raw(code)}</script>
`;
  return `<!DOCTYPE html>\n${html`<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${raw(policy)}">
<link rel="icon" href="data:,">
<title>${title}</title>
<style>${raw(css)}${raw(chartCss())}</style>
</head>
<body>
${body}
${live}</body>
</html>
`}`;
}

/** The page of a run, or of several runs that one answer covers. */
export function pageHtml(runs: readonly [Results, ...Results[]], answer: Answer): string {
  const [run] = runs;
  const many = runs.length > 1;
  const startedMs = (run.run?.startUnixNs ?? 0) / 1e6;
  const subtitle = [
    many ? runs.map(({ name }, index) => `${String.fromCharCode(65 + index)}: ${name}`).join("   ") : run.name,
    startedMs > 0 ? `${new Date(startedMs).toISOString().replace("T", " ").slice(0, 19)} UTC` : "",
  ].filter((text) => text !== "");
  // Two versions may run at two addresses; what is the same for both is shown once.
  const workloads = [...new Set(runs.map((each) => workloadWords(each).join(" · ")))].filter((words) => words !== "");
  const sections = answer.sections.filter(
    ({ tables, pictures, text = [] }) => tables.length + pictures.length + text.length > 0,
  );
  const pictures = sections.flatMap((section) => section.pictures);
  const body = html`<header><h1>${run.scenario}</h1><p class="muted">${subtitle.join(" · ")}</p>
${workloads.map((words) => html`<p class="workload">${words}</p>\n`)}${runs.map(
  (each, i) =>
    html`${many && html`<h3>${`${String.fromCharCode(65 + i)}: ${each.name}`}</h3>`}${verdictHtml(each, i === 0 ? "" : `-${i + 1}`)}${damageHtml(each)}\n`,
)}</header>
<main>
<section class="answer" id="answer">${answer.sentences.map((sentence) => html`<p>${sentence}</p>`)}</section>
${navHtml(sections)}
${sections.map(sectionHtml)}${definitionsHtml()}
${runs.map((each) => factsHtml(each, many))}</main>`;
  return documentHtml(`${run.scenario} – ${run.name}`, body, pictures);
}
