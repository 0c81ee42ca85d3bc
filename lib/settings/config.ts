import { beforeLoad, mixReader } from "../lazy";
import { givenSettings, tokenclock } from "../wire/client";
import { shippedDatasets } from "../workload/shipped-datasets";
import type { OwnSetting } from "./own";
import type { Config, Declaration, MixClass } from "./parse-config";
import { isSettingError, SettingError } from "./setting-error";

export type { Config, Declaration } from "./parse-config";

/** Path from a bundle to the shipped datasets; set by the bundler. */
declare const DATASETS_PATH: string;

/** The sha256 of the files that settings name, by setting; in the runtimes with number 0, of which one is handleSummary's. */
export let digests: Record<string, string> | undefined;

/**
 * Reads all settings (built-in default < the scenario's < the user's, see docs/settings.md), checks them and declares the
 * run. What is not allowed ends the run with one line and exit code 104 before any load. `classesOf` gives the classes of the
 * load, whose files count like the run's.
 */
export function readConfig(declaration: Declaration, classesOf?: (config: Config) => readonly MixClass[]): Config {
  /** A path as the user wrote it, below the folder they are in, for what opens files itself. */
  const absolute = (path: string) => userPath(path).replace(/^file:\/\//, "");
  const read = (): Config => {
    const { gatherSettings, isSettingName, parseConfig, refuseLoadFlags, secretsLine } = beforeLoad();
    const names = (declaration.own ?? []).map(({ name }) => name);
    const { options, environment, mixed, loadFlags } = givenSettings(
      (name) => isSettingName(name) || names.includes(name),
    );
    refuseLoadFlags(loadFlags);
    // Before anything can be refused: what an earlier run left must not be taken for this one's.
    tokenclock.clearOld(options.RESULTS ?? options.TOKENCLOCK_RESULTS ?? environment.TOKENCLOCK_RESULTS ?? "");
    demand(
      !mixed,
      "this archive holds the environment of the machine that made it, in which settings cannot be distinguished from other variables; " +
        "make it without --include-system-env-vars",
    );
    const secrets = secretsLine(options);
    if (secrets !== undefined) console.warn(`tokenclock: ${secrets}`);
    const own = Object.fromEntries((declaration.own ?? []).map((each) => [each.name, readOwn(each)]));
    const given = gatherSettings(options, environment, names);
    const readText = (path: string) => open(userPath(path));
    const readHead = (path: string) => new tokenclock.TextFile(userPath(path)).head;
    const parsed = { ...parseConfig(declaration, given, readText, readHead), own };
    const { RUNNERS: runners, COORDINATOR: address, COORDINATOR_TOKEN: token, COORDINATOR_TOKEN_FILE: file } = parsed;
    // Undefined with xk6-sse.
    const salt =
      tokenclock.joinRunners?.({ runners, address, token, tokenFile: file === "" ? "" : absolute(file) }) ?? "";
    return salt === "" || given.SALT !== undefined ? parsed : { ...parsed, SALT: salt };
  };
  let reads = false;
  const config = orRefuse(() =>
    tokenclock.shared("config", () => {
      reads = true;
      return read();
    }),
  );
  // The first runtime's words count, and it has number 0. So have those of setup(), teardown() and handleSummary().
  const first = __VU === 0;
  if (first) {
    const classes = classesOf?.(config) ?? [];
    digests = tokenclock.shared("digests", () => {
      const filesOf = (of: Config, part = "") =>
        (["DATASET", "TRACE", "TARGETS", "RATE_FILE", "WIRE", "MIX"] as const).flatMap((setting) => {
          const file = of[setting];
          const inherited = part !== "" && file === config[setting];
          return typeof file === "string" && file !== "" && !inherited ? [{ setting, file, part }] : [];
        });
      const named = [...filesOf(config), ...classes.flatMap(({ name, config: own }) => filesOf(own, `${name}.`))];
      return Object.fromEntries(
        named.map(({ setting, file, part }) => {
          const shipped = setting === "DATASET" ? shippedDatasets[file] : undefined;
          return [`${part}${setting}`, tokenclock.fileDigest(shipped ? shippedPath(shipped) : userPath(file))];
        }),
      );
    });
  }
  tokenclock.run({
    scenario: declaration.scenario,
    config: first ? shownSettings(config) : {},
    sloMs: config.sloMs,
    cache: config.CACHE,
    resultsDir: first ? config.RESULTS : undefined,
    stamps: config.STAMPS,
    live: config.LIVE,
    maxStolen: config.MAX_STOLEN,
    judged: true,
    access: reads ? beforeLoad().accessOf(config, absolute) : undefined,
    profile: first ? config.profile : undefined,
    digests: first ? digests : undefined,
    slices: config.used.includes("SLICES") ? config.SLICES : undefined,
  });
  return config;
}

/** The value of a setting that a test has of its own. What is not allowed ends the run with exit code 104. Init context only. */
export function readOwn(own: OwnSetting): string | number | boolean {
  const { name } = own;
  const read = () => {
    const { isSettingName, ownValue, requireOwn } = beforeLoad();
    const { options, environment } = givenSettings((each) => isSettingName(each) || each === name);
    tokenclock.clearOld(options.RESULTS ?? options.TOKENCLOCK_RESULTS ?? environment.TOKENCLOCK_RESULTS ?? "");
    requireOwn(own);
    const prefixed = `TOKENCLOCK_${name}`;
    return { value: ownValue(own, options[name] ?? options[prefixed] ?? environment[prefixed]) };
  };
  return orRefuse(() => tokenclock.shared(`setting ${name}`, read)).value;
}

/** The settings that the scenario uses, without secrets, in a form to be read and set again. For setup(), teardown() and handleSummary. */
export function shownSettings(of: Config): Record<string, unknown> {
  // Once: each runtime that asks would load the table of settings.
  const show = () => ({ ...beforeLoad().shownSettings(of, of.used), ...of.own });
  return { ...tokenclock.shared(`shown settings ${of.part ?? ""}`, show) };
}

/** The result of `read`; its SettingError ends the run with one line and exit code 104. Init context only. */
export function orRefuse<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (isSettingError(error)) tokenclock.refuse(`tokenclock: ${error.message}`);
    throw error;
  }
}

/** Ends the run with this line and exit code 104 unless the settings hold what it demands. Init context only. */
export function demand(holds: boolean, line: string): void {
  if (!holds) tokenclock.refuse(`tokenclock: ${line}`);
}

/** The classes of the mix that MIX names. What is wrong with it ends the run. Init context only. */
export function readMix(config: Config): readonly MixClass[] {
  const read = () => {
    if (config.MIX === "") throw new SettingError("MIX is not set: name the JSON file of the classes");
    let text: string;
    try {
      text = open(userPath(config.MIX));
    } catch (error) {
      throw new SettingError(`MIX=${config.MIX} cannot be read: ${error instanceof Error ? error.message : error}`);
    }
    return mixReader().parseMix(text, config);
  };
  return orRefuse(() => tokenclock.shared("classes", read));
}

/** A path as the user wrote it, below the folder they are in, in the form that k6's open() takes. */
export function userPath(path: string): string {
  if (/^(\/|[A-Za-z]:[\\/]|file:)/.test(path)) return path;
  // k6 itself resolves paths from the script's folder, which for a bundle is none that users think of.
  const folder = tokenclock.shared("working folder", () => givenSettings(() => false).workingDir);
  return folder ? `${folder}/${path}` : path;
}

/** The path of a shipped dataset, in the form that k6's open() takes. */
export function shippedPath(file: string): string {
  return import.meta.resolve(DATASETS_PATH + file).replace(/^file:\/\//, "");
}
