/**
 * Makes one run of the records of all runners that had a part of it: what keeps them from being one, one time axis, one window
 * a level, one judgement of all clients. Pure.
 */
import { chunksOf, foldLevel, foldRecords, foldSeconds, type RequestMoments } from "../../lib/figures/fold";
import type {
  HostPauses,
  LevelSummary,
  Pauses,
  RunReport,
  Second,
  Stats,
  Validity,
} from "../../lib/figures/level-summary";
import type { EndLine, LevelLine, PartLine, RequestLine, RunLine, SessionLine } from "../../lib/figures/records";
import { joinedSeries, type Polled, withServer } from "../../lib/figures/server-pages";
import { foldSlices } from "../../lib/figures/slices";
import type { Damage, PagesLine, PointsLine } from "../read/records";
import { countsOf, sumOfHistograms } from "./histogram-sum";

/** The records of one runner as they were read. */
export interface PartRecords {
  readonly dir: string;
  readonly run?: RunLine;
  /** In the order in which they were written. */
  readonly clocks: readonly PartLine[];
  readonly requests: readonly RequestLine[];
  readonly sessions: readonly SessionLine[];
  readonly levels: readonly LevelLine[];
  readonly points: readonly PointsLine[];
  /** How the server's pages were polled; absent where this runner did not poll. */
  readonly pages?: PagesLine;
  readonly end?: EndLine;
  readonly damage: Damage;
}

/** What merged records must be within. */
export interface MergeLimits {
  readonly parts: number;
  /** Largest difference of a runner's wall clock from the coordinator's, and doubt about it. */
  readonly offsetMs: number;
  readonly uncertaintyMs: number;
}

/** One run, from all of its parts. */
export interface Merged {
  readonly run: RunLine;
  readonly requests: readonly RequestLine[];
  readonly sessions: readonly SessionLine[];
  readonly levels: readonly LevelLine[];
  readonly points: readonly PointsLine[];
  readonly pages?: PagesLine;
  readonly end: EndLine;
  /** With what the server says of each level. */
  readonly report: RunReport;
  /** What was polled of the server, by one runner for all. */
  readonly polled: Polled;
}

/** Settings that may differ between runners: where each one writes, and how it reaches the coordinator. */
const ownSettings = new Set(["RESULTS", "COORDINATOR", "COORDINATOR_TOKEN", "COORDINATOR_TOKEN_FILE", "DESCRIPTION"]);

/** Why the parts are not one whole run, a line each; empty where they are. */
export function mergeRefusals(parts: readonly PartRecords[], limits: MergeLimits): string[] {
  const lines: string[] = [];
  const seen = new Map<number, string>();
  for (const { dir, run, clocks, levels, end, damage } of parts) {
    const own = clocks[0];
    if (!run || !own) {
      lines.push(`${dir}: its records do not say which part of which run they are`);
      continue;
    }
    const who = `runner ${own.part} of ${own.of} (${dir})`;
    if (own.of !== limits.parts) lines.push(`${who} belongs to a run of ${own.of} parts, not of ${limits.parts}`);
    const twice = seen.get(own.part);
    if (twice !== undefined) lines.push(`${who} is the same part as ${twice}`);
    seen.set(own.part, dir);
    for (const reason of damage) lines.push(`${who}: ${reason}`);
    // The reader of a file that breaks off has said so.
    if (!end && damage.length === 0) lines.push(`${who}: its records have no end: it was killed, or is still running`);
    lines.push(...clockRefusals(who, clocks, limits), ...histogramRefusals(who, levels));
  }
  for (let part = 1; part <= limits.parts; part++) {
    if (!seen.has(part)) lines.push(`runner ${part} of ${limits.parts} is missing`);
  }
  return [...lines, ...differences(parts), ...(lines.length > 0 ? [] : apartWindows(parts))];
}

function clockRefusals(who: string, clocks: readonly PartLine[], { offsetMs, uncertaintyMs }: MergeLimits): string[] {
  const worst = (of: (clock: PartLine) => number) =>
    clocks.reduce((most, clock) => Math.max(most, Number.isFinite(of(clock)) ? Math.abs(of(clock)) : Infinity), 0) /
    1e6;
  const [off, doubt] = [worst(({ offsetNs }) => offsetNs), worst(({ uncertaintyNs }) => uncertaintyNs)];
  return [
    ...(off > offsetMs
      ? [`${who}: its clock was ${off.toFixed(0)} ms off the coordinator's, limit ${offsetMs} ms`]
      : []),
    ...(doubt > uncertaintyMs
      ? [`${who}: its clock is known to ${doubt.toFixed(1)} ms only, limit ${uncertaintyMs} ms`]
      : []),
  ];
}

/** Histograms that cannot be added up. */
function histogramRefusals(who: string, levels: readonly LevelLine[]): string[] {
  return levels.flatMap(({ name, itlHistograms = {} }) =>
    Object.entries(itlHistograms).flatMap(([phase, text = ""]) => {
      try {
        countsOf(text);
        return [];
      } catch (error) {
        return [`${who}: the ITL histogram of level ${name}, ${phase}, is damaged: ${(error as Error).message}`];
      }
    }),
  );
}

/** What the parts must have in common, and do not. */
function differences(parts: readonly PartRecords[]): string[] {
  const [first, ...others] = parts.filter(({ run, clocks }) => run && clocks.length > 0);
  if (!first) return [];
  return others.flatMap((other) => {
    const who = `runner ${other.clocks[0]?.part} (${other.dir})`;
    const base = `runner ${first.clocks[0]?.part}`;
    const lines: string[] = [];
    if (other.clocks[0]?.run !== first.clocks[0]?.run) lines.push(`${who} is of another run than ${base}`);
    const build = (of: PartRecords) => `${of.clocks[0]?.build} ${JSON.stringify(of.run?.versions)}`;
    if (build(other) !== build(first)) lines.push(`${who} is another build than ${base}`);
    if (other.run?.scenario !== first.run?.scenario) {
      lines.push(`${who} ran ${other.run?.scenario}, ${base} ran ${first.run?.scenario}`);
    }
    const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
    const [mine, theirs] = [other.run?.config ?? {}, first.run?.config ?? {}];
    for (const name of new Set([...Object.keys(theirs), ...Object.keys(mine)])) {
      if (ownSettings.has(name) || same(mine[name], theirs[name])) continue;
      lines.push(`${who} had another workload: ${name}=${shown(mine[name])}, ${base} ${shown(theirs[name])}`);
    }
    if (!same(sorted(other.run?.digests), sorted(first.run?.digests))) {
      lines.push(`${who} read other files than ${base}: the digests of ${names(other, first)} differ`);
    }
    if (!same(other.run?.profile, first.run?.profile)) lines.push(`${who} has another threshold profile than ${base}`);
    const [schedule, its] = [other.end?.schedule, first.end?.schedule];
    if (schedule && its && !same(schedule, its)) lines.push(`${who} followed another schedule than ${base}`);
    return lines;
  });
}

const shown = (value: unknown): string => (value === undefined ? "(not set)" : String(JSON.stringify(value)));

const sorted = (digests: Readonly<Record<string, string>> = {}) => Object.entries(digests).sort();

const names = (...parts: PartRecords[]): string =>
  [...new Set(parts.flatMap(({ run }) => Object.keys(run?.digests ?? {})))].join(", ");

/** Levels that the runners went through one after the other, instead of together. */
function apartWindows(parts: readonly PartRecords[]): string[] {
  const shifted = onOneAxis(parts);
  return levelNames(shifted).flatMap((name) => {
    const lines = linesOf(shifted, name);
    if (lines.length < 2) return [];
    const lastOpen = Math.max(...lines.map(({ openNs }) => openNs));
    const firstEnd = Math.min(...lines.map(({ endNs, closeNs }) => Math.max(endNs, closeNs)));
    if (lastOpen < firstEnd) return [];
    return [
      `level ${name}: the runners' windows do not overlap: one had ended ${((lastOpen - firstEnd) / 1e6).toFixed(0)} ms before another began`,
    ];
  });
}

/** Makes one run of parts that mergeRefusals finds nothing against. */
export function merge(unordered: readonly PartRecords[]): Merged {
  const parts = onOneAxis(unordered);
  const [first] = parts;
  const run = first?.run;
  if (!run) throw new Error("there is no part");
  const zeroUnixNs = Math.min(...unordered.map(zeroOf));
  const requests = parts.flatMap((part) => part.requests);
  const sessions = parts.flatMap((part) => part.sessions);
  const levels = levelNames(parts).map((name) => mergedLine(name, parts));
  const mergedRun: RunLine = {
    ...run,
    startUnixNs: zeroUnixNs,
    parts: parts.map(({ clocks }) => {
      const last = clocks[clocks.length - 1];
      return {
        part: last?.part ?? 0,
        build: last?.build ?? "",
        offsetNs: last?.offsetNs ?? 0,
        uncertaintyNs: last?.uncertaintyNs ?? 0,
      };
    }),
  };
  const { points, pages } = pollerAmong(parts, run.scenario);
  const polled = { series: joinedSeries(points), states: pages?.pages ?? [] };
  const report = withServer(reportOf(mergedRun, parts, levels), run.config, polled);
  return {
    run: mergedRun,
    requests,
    sessions,
    levels,
    points,
    ...(pages ? { pages } : {}),
    polled,
    end: {
      type: "end",
      endNs: Math.max(...parts.map(({ end }) => end?.endNs ?? 0)),
      ended: report.ended,
      ...(report.unsent === undefined ? {} : { unsent: report.unsent }),
      ...(report.schedule ? { schedule: report.schedule } : {}),
      validity: report.validity,
    },
    report,
  };
}

/**
 * What the server's pages reported. One runner polls for all: a second one's values would count the same requests once more, and
 * those of two clocks do not belong into one series. So the runner counts that has the most of them.
 */
function pollerAmong(parts: readonly PartRecords[], scenario: string): Pick<PartRecords, "points" | "pages"> {
  const all = parts.map(({ points, pages }) => ({
    points: points.filter(({ name }) => name === scenario),
    pages,
  }));
  const rows = ({ points }: (typeof all)[number]) => points.reduce((sum, line) => sum + line.points.length, 0);
  const most = all.reduce((a, b) => (rows(b) > rows(a) ? b : a), { points: [], pages: undefined });
  return most.points.length > 0 ? most : { points: [], pages: all.find(({ pages }) => pages)?.pages };
}

/** The coordinator's clock at the 0 of a part's, by its first measurement. */
const zeroOf = ({ clocks }: PartRecords): number => clocks[0]?.zeroUnixNs ?? 0;

/**
 * The parts in their order, with all times on one axis, whose 0 is that of the earliest runner. Each request is moved as a
 * whole, by the clock as it was measured last before it: no latency changes.
 */
function onOneAxis(unordered: readonly PartRecords[]): PartRecords[] {
  const zero = Math.min(...unordered.map(zeroOf));
  return unordered
    .map((part) => {
      const by = (atNs: number) => {
        const measured = part.clocks.filter((clock) => clock.atNs <= atNs);
        return Math.round((measured[measured.length - 1]?.zeroUnixNs ?? zeroOf(part)) - zero);
      };
      return {
        ...part,
        requests: part.requests.map((request) =>
          movedRequest(request, by(request.scheduledNs ?? request.startedNs ?? 0)),
        ),
        sessions: part.sessions.map((line) => moved(line, by(line.startNs ?? 0), ["startNs", "endNs"])),
        levels: part.levels.map((line) => moved(line, by(line.openNs), ["openNs", "closeNs", "endNs"])),
        points: part.points.map((line) => ({
          ...line,
          points: line.points.map(([ns, ...values]): PointsLine["points"][number] => [ns + by(ns), ...values]),
        })),
        end: part.end && moved(part.end, by(part.end.endNs), ["endNs"]),
      };
    })
    .sort((a, b) => (a.clocks[0]?.part ?? 0) - (b.clocks[0]?.part ?? 0));
}

/** A line with these moments later by `byNs`; one that never came (0, or left out) stays so. */
function moved<T extends object>(line: T, byNs: number, moments: readonly (keyof T)[]): T {
  const copy = { ...line };
  for (const name of moments) {
    const atNs = line[name];
    if (typeof atNs === "number" && atNs !== 0) copy[name] = (atNs + byNs) as T[keyof T];
  }
  return copy;
}

const requestMoments = [
  "scheduledNs",
  "startedNs",
  "sentNs",
  "firstByteNs",
  "firstOutputNs",
  "firstNonReasonNs",
  "lastOutputNs",
  "endNs",
] as const;

const movedRequest = (request: RequestLine, byNs: number): RequestLine => moved(request, byNs, requestMoments);

/** The levels in the order in which they opened. */
function levelNames(parts: readonly PartRecords[]): string[] {
  const opened = new Map<string, number>();
  for (const { levels } of parts) {
    for (const { name, openNs } of levels) {
      // A runner that had warm-up requests of a level only never opened its window.
      if (openNs > 0) opened.set(name, Math.min(opened.get(name) ?? Infinity, openNs));
    }
  }
  return [...opened].sort(([, a], [, b]) => a - b).map(([name]) => name);
}

const linesOf = (parts: readonly PartRecords[], name: string): LevelLine[] =>
  parts.flatMap(({ levels }) => levels.filter((line) => line.name === name && line.openNs > 0));

const steadyOf = (requests: readonly RequestLine[], name: string): RequestLine[] =>
  requests.filter(({ level, phase }) => level === name && phase === "steady");

/**
 * The line of a level of all runners. Its window is the time in which every runner with a client in it had its own open. A
 * burst, or a level that refills no slot, has no time of full load: its window reaches from the first opening to the last close.
 */
function mergedLine(name: string, parts: readonly PartRecords[]): LevelLine {
  const [first, ...others] = linesOf(parts, name);
  if (!first) throw new Error(`no runner has a line of level ${name}`);
  const all = [first, ...others];
  const { itlHistograms: _, ...line } = first;
  const itlHistograms = histogramsOf(all);
  const { concurrency = 0 } = line;
  const steady = parts.reduce((sum, { requests }) => sum + steadyOf(requests, name).length, 0);
  const refills = line.batchSize === undefined || concurrency > 0 ? steady > concurrency : false;
  const opens = all.map(({ openNs }) => openNs);
  const closes = all.map(({ closeNs }) => closeNs);
  return {
    ...line,
    openNs: refills ? Math.max(...opens) : Math.min(...opens),
    closeNs: refills ? Math.max(Math.max(...opens), Math.min(...closes)) : Math.max(...closes),
    endNs: Math.max(...all.map(({ endNs }) => endNs)),
    clockErrors: all.reduce((sum, { clockErrors = 0 }) => sum + clockErrors, 0),
    ...(Object.keys(itlHistograms).length > 0 ? { itlHistograms } : {}),
    // A runner that does not say it leaves the memory of all unknown.
    ...(all.some(({ clientMB }) => clientMB) && { clientMB: all.flatMap(({ clientMB = [[]] }) => clientMB) }),
  };
}

/** The pooled ITL of all runners by phase. */
function histogramsOf(lines: readonly LevelLine[]): NonNullable<LevelLine["itlHistograms"]> {
  const phases = new Set(lines.flatMap(({ itlHistograms = {} }) => Object.keys(itlHistograms)));
  const ofPhase = (phase: string) => lines.flatMap(({ itlHistograms }) => itlHistograms?.[phase] ?? []);
  return Object.fromEntries([...phases].map((phase) => [phase, sumOfHistograms(ofPhase(phase))]));
}

function reportOf(run: RunLine, parts: readonly PartRecords[], lines: readonly LevelLine[]): RunReport {
  const requests = parts.flatMap((part) => part.requests);
  const sessions = parts.flatMap((part) => part.sessions);
  const { SLICES: slices } = run.config;
  const summaries = lines.map((line) => {
    const own = requests.filter(({ level }) => level === line.name);
    const held = sessions.filter(({ level }) => level === line.name);
    return {
      ...foldLevel(line.name, own, line, run.sloMs, held),
      ...(typeof slices === "number" ? { slices: foldSlices(own, line, slices) } : {}),
      ...messagesOf(own),
    };
  });
  const { total } = foldRecords([run, ...requests, ...sessions]);
  const zeroNs = Math.min(...lines.map(({ openNs }) => openNs));
  const ends = parts.map(({ end }) => end?.ended);
  const ended = ends.includes("interrupted")
    ? "interrupted"
    : ends.every((how) => how === "complete")
      ? "complete"
      : "cut";
  const schedule = parts.flatMap(({ end }) => end?.schedule ?? [])[0];
  const unsent = parts.flatMap(({ end, clocks }) => (end?.unsent ? [`runner ${clocks[0]?.part}: ${end.unsent}`] : []));
  const endNs = Math.max(...parts.map(({ end }) => end?.endNs ?? 0));
  return {
    startUnixMs: Math.round(run.startUnixNs / 1e6),
    durationS: endNs / 1e9,
    levels: summaries,
    total: { ...total, ...messagesOf(requests) },
    seconds: secondsOf(requests, zeroNs),
    validity: validityOf(
      parts,
      total,
      lines.map(({ name }) => name),
    ),
    versions: run.versions as RunReport["versions"],
    ended,
    ...(unsent.length > 0 ? { unsent: unsent.join("; ") } : {}),
    ...(schedule ? { schedule } : {}),
  };
}

/** The first message of each class of failure; absent where nothing failed. */
function messagesOf(requests: readonly RequestLine[]): Pick<LevelSummary, "failureMessages"> {
  const messages: Record<string, string> = {};
  for (const request of requests) {
    if (request.outcome === "failed" && request.phase === "steady") messages[request.failure] ??= request.message ?? "";
  }
  return Object.keys(messages).length > 0 ? { failureMessages: messages } : {};
}

/** The seconds of the run from `zeroNs` on, with the output tokens that arrived in each. */
function secondsOf(requests: readonly RequestLine[], zeroNs: number): Second[] {
  const moments = requests.map(
    ({ scheduledNs = 0, startedNs = 0, sentNs = 0, lastOutputNs = 0, endNs = 0, outcome }): RequestMoments => ({
      ...{ scheduledNs, startedNs, sentNs, lastOutputNs, endNs, completed: outcome === "completed" },
    }),
  );
  const seconds = foldSeconds(moments, zeroNs).map((second) => ({ ...second, outputTokens: 0 }));
  for (const request of requests) {
    if (request.outcome !== "completed") continue;
    for (const { atNs, tokens } of chunksOf(request)) {
      const second = atNs >= zeroNs ? seconds[Math.floor((atNs - zeroNs) / 1e9)] : undefined;
      if (second) second.outputTokens += tokens;
    }
  }
  return seconds;
}

const worse: readonly Validity["state"][] = ["VALID", "NOT-MEASURED", "CACHE-BOUND", "CLIENT-BOUND", "UNJUDGED"];

/**
 * One judgement of all clients: valid only if every one is. A runner that had no request to send (fewer clients than runners)
 * judged nothing, and takes nothing from the others. Quantities of single requests are folded from all of them in the levels;
 * of what only a runner itself knows, the worst runner's stands for all.
 */
function validityOf(parts: readonly PartRecords[], total: LevelSummary, levels: readonly string[]): Validity {
  const all = parts.flatMap(({ end, clocks, requests }) =>
    end ? [{ part: clocks[0]?.part, sent: requests.length, validity: end.validity }] : [],
  );
  const busy = all.filter(({ sent }) => sent > 0);
  const judged = busy.length > 0 ? busy : all;
  const state = judged.reduce<Validity["state"]>(
    // What is not known is worse than anything.
    (worst, { validity }) => (rank(validity.state) > rank(worst) ? validity.state : worst),
    "VALID",
  );
  const distinct = (of: (validity: Validity) => readonly string[] | undefined) =>
    judged.flatMap(({ part, validity }) => (of(validity) ?? []).map((line) => `runner ${part}: ${line}`));
  const values = judged.map(({ validity }) => validity);
  const sum = (of: (validity: Validity) => number | undefined) => values.reduce((n, each) => n + (of(each) ?? 0), 0);
  const most = (of: (validity: Validity) => number | undefined) =>
    values.reduce((n, each) => Math.max(n, of(each) ?? 0), 0);
  const worst = (of: (validity: Validity) => Stats): Stats =>
    values.map(of).reduce((a, b) => (b.count > 0 && (a.count === 0 || b.p99 > a.p99) ? b : a));
  const base = values[0];
  if (!base) throw new Error("no runner has a validity in its summary.json: the parts are not results of this version");
  const ring = values.some((each) => each.ring) && {
    ring: {
      packets: sum(({ ring: r }) => r?.packets),
      drops: sum(({ ring: r }) => r?.drops),
      lostBytes: sum(({ ring: r }) => r?.lostBytes),
      duplicates: sum(({ ring: r }) => r?.duplicates),
      reordered: sum(({ ring: r }) => r?.reordered),
      mixedRequests: sum(({ ring: r }) => r?.mixedRequests),
    },
  };
  const hostLevels = levels.flatMap((name) => {
    const own = values.flatMap((each) => each.hostLevels?.filter((level) => level.name === name) ?? []);
    return own.length > 0 ? [{ name, ...pausesOf(own) }] : [];
  });
  const readers = [...new Set(values.flatMap(({ reader }) => reader ?? []))];
  return {
    state: rank(state) >= worse.length ? "CLIENT-BOUND" : state,
    reasons: distinct(({ reasons }) => reasons),
    notes: distinct(({ notes }) => notes),
    ...(base.stamps ? { stamps: stampsOf(judged) } : {}),
    ...pausesOf(values),
    ...(hostLevels.length > 0 ? { hostLevels } : {}),
    ...ring,
    schedulingLagMs: worst(({ schedulingLagMs }) => schedulingLagMs),
    queueDelayMs: total.queueDelayMs,
    kernelStampShare: total.kernelStampShare,
    coalescedShare: total.coalescedShare,
    arrivalUncertaintyMs: total.arrivalUncertaintyMs,
    clockErrors: total.clockErrors,
    readerWaitShare: most(({ readerWaitShare }) => readerWaitShare),
    sendUncertaintyMs: worst(({ sendUncertaintyMs }) => sendUncertaintyMs),
    cpuShare: most(({ cpuShare }) => cpuShare),
    droppedIterations: sum(({ droppedIterations }) => droppedIterations),
    retriedOnReuse: sum(({ retriedOnReuse }) => retriedOnReuse),
    ...(readers.length > 0 ? { reader: readers.join("; ") } : {}),
    ...(base.readerClass === undefined ? {} : { readerClass: base.readerClass }),
    clockSteps: sum(({ clockSteps }) => clockSteps),
    rejectedStamps: sum(({ rejectedStamps }) => rejectedStamps),
  };
}

const rank = (state: Validity["state"]): number => {
  const at = worse.indexOf(state);
  return at < 0 ? worse.length : at;
};

/** The shares of the sources of arrival times, by the requests that each runner sent. */
function stampsOf(parts: readonly { sent: number; validity: Validity }[]): NonNullable<Validity["stamps"]> {
  const all = parts.reduce((sum, { sent }) => sum + sent, 0) || 1;
  const share = (of: "ring" | "socket" | "user") =>
    parts.reduce((sum, { sent, validity }) => sum + (sent / all) * (validity.stamps?.[of] ?? 0), 0);
  const order = ["ring", "socket", "user"] as const;
  const weakest = parts
    .flatMap(({ validity }) => validity.stamps ?? [])
    .reduce((a, b) => (order.indexOf(b.source) > order.indexOf(a.source) ? b : a));
  return {
    source: weakest.source,
    ...(weakest.why === undefined ? {} : { why: weakest.why }),
    ...{ ring: share("ring"), socket: share("socket"), user: share("user") },
  };
}

const pauseKinds = ["stoppedMs", "suspendedMs", "throttledMs", "stolenMs"] as const;

/** What all hosts did together; of runners on one host the same pause counts once for each. */
function pausesOf(values: readonly HostPauses[]): HostPauses {
  const sums: Partial<Record<(typeof pauseKinds)[number], Pauses>> = {};
  for (const kind of pauseKinds) {
    const known = values.flatMap((each) => each[kind] ?? []);
    if (known.length === 0) continue;
    sums[kind] = known.reduce((a, b) => ({
      count: a.count + b.count,
      total: a.total + b.total,
      longest: Math.max(a.longest, b.longest),
    }));
  }
  return sums;
}
