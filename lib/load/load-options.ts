/** Whether k6 runs the load that the settings ask for. Pure: load-guard.ts hands in the options. */
import { parseDurationMs } from "../settings/duration";

/** k6's options as far as they decide how many clients there are. */
export interface LoadOptions {
  readonly scenarios?: Readonly<Record<string, object>> | null;
}

/** Settings that each instance of a run has of its own. */
const ownSettings = new Set(["RESULTS", "DESCRIPTION", "COORDINATOR", "COORDINATOR_TOKEN", "COORDINATOR_TOKEN_FILE"]);

/**
 * What the instances of a load must have in common, and whether they must begin its parts together: not where k6 itself
 * changes the number of VUs, and divides them.
 */
export function meetOptions(
  requested: LoadOptions | undefined,
  shown: Readonly<Record<string, unknown>>,
): { settings: Record<string, unknown>; aligned: boolean } {
  const executors = Object.values(requested?.scenarios ?? {}).map(
    (scenario) => (scenario as { executor?: unknown }).executor,
  );
  return {
    settings: Object.fromEntries(Object.entries(shown).filter(([name]) => !ownSettings.has(name))),
    aligned: executors.length === 0 || executors.some((executor) => executor !== "ramping-vus"),
  };
}

/** What of a k6 scenario is the load; the rest (exec, tags, env, limits of time) leaves the number of clients as it is. */
const loadFields = ["executor", "vus", "iterations", "stages"];

/**
 * What keeps k6 from running the requested load, as one line; undefined where nothing does. A level's name says
 * how many clients it has, and k6's own options replace all scenarios of a script without failing.
 */
export function loadConflict(requested: LoadOptions, given: LoadOptions): string | undefined {
  const [requestedLoad, givenLoad] = [loadOf(requested), loadOf(given)];
  if (requestedLoad === givenLoad) return undefined;
  return (
    "k6's own load options (--vus, --duration, --iterations, --stage, K6_VUS and the like, a config file, an archive's " +
    `options) replace the load that the settings ask for: ${givenLoad} instead of ${requestedLoad}; leave them out and use the settings`
  );
}

/** The load in one form, whatever k6 wrote of it: "per-vu-iterations vus 4 iterations 1". */
function loadOf({ scenarios }: LoadOptions): string {
  const loads = Object.values(scenarios ?? {}).map((scenario) => {
    const fields = scenario as Readonly<Record<string, unknown>>;
    return loadFields
      .filter((name) => fields[name] !== undefined && fields[name] !== null)
      .map((name) => (name === "executor" ? fields[name] : `${name} ${textOf(fields[name])}`))
      .join(" ");
  });
  return loads.sort().join(", ");
}

function textOf(value: unknown): string {
  if (!Array.isArray(value)) return String(value);
  // k6 writes durations its own way: 90s come back as 1m30s.
  return value.map(({ duration, target }) => `${parseDurationMs(String(duration))}ms:${target}`).join(",");
}
