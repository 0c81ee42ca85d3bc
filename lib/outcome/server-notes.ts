/** What a reader must know of how the server's own metrics were read. Pure. */
import type { RunReport } from "../figures/level-summary";
import { percent, shortNumber } from "../figures/table";
import type { Settings } from "../settings/settings";

/** The share of a core, and of the polls, from which on polling is worth a note. */
const noticeable = { cpu: 0.02, skipped: 0.1 };

/** A load that is shorter, s, is polled at its levels' ends alone: of so little time the share of a core says nothing. */
const leastSpanS = 2;

function spanS(levels: RunReport["levels"]): number {
  const begins = levels.map(({ windowStartS }) => windowStartS);
  const ends = levels.map(({ windowStartS, durationS }) => windowStartS + durationS);
  return levels.length === 0 ? 0 : Math.max(...ends) - Math.min(...begins);
}

/** What a reader must know of how the server was polled, a line each. */
export function serverNotes({ levels, server: together, serverPages = [] }: RunReport, config: Settings): string[] {
  const notes = serverPages.flatMap(({ url, polls, failed, skipped, error, cpuShare, pageMs, bytes }) => {
    const of = `the metrics page ${url}`;
    return [
      ...(failed > 0 ? [`${failed} of ${polls} polls of ${of} failed: ${error}`] : []),
      ...(cpuShare > noticeable.cpu && spanS(levels) >= leastSpanS
        ? [
            `to read ${of} (${shortNumber(bytes / 1000)} kB) took up to ${percent(cpuShare)} of a core of the load generator; set METRICS_INTERVAL higher or METRICS to fewer metrics`,
          ]
        : []),
      ...(skipped > noticeable.skipped * (polls + skipped)
        ? [
            `${of} was polled ${polls} times instead of ${polls + skipped}: it takes ${shortNumber(pageMs.p50)} ms (median) to come, and polls may keep the server busy for a tenth of its time`,
          ]
        : []),
    ];
  });
  const polled = [...levels.map(({ server }) => server), together];
  if (config.POWER_METRIC !== "" && levels.length > 0 && polled.every((server) => server?.energyJ === undefined)) {
    notes.push(
      `the energy is not known: no page of METRICS_URL has ${config.POWER_METRIC} as a gauge of power or a counter of energy through half of a level`,
    );
  }
  return notes;
}
