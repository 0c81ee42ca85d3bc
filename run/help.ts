/** What `npm start SCENARIO -- --help` and `tokenclock run SCENARIO --help` print: the settings of that load test. */
import type { ScenarioSettings } from "../build/scenario-settings";
import { ownAllowed } from "../lib/settings/own";
import { nearestName, type SettingName, settings, shownDefault } from "../lib/settings/settings";
import { commonSettings } from "../lib/settings/used-settings";

/** A setting's name, what is allowed, the default and what it is for, in two lines. */
function entry(name: string, allowed: string, initial: string, doc: string): string {
  // The links of docs/settings.md lead nowhere on a terminal.
  const text = doc.replace(/\[[^\]]*\]\(#[^)]*\)/g, "see docs/settings.md");
  return `  ${name}  ${allowed}${initial === "" ? "" : `; default ${initial}`}\n      ${text}`;
}

function settingEntry(name: SettingName, initial = shownDefault(name)): string {
  return entry(name, settings[name].allowed, initial, settings[name].doc);
}

/** The line on a scenario that there is not: the one that may be meant, and all that there are. */
export function noScenario(scenario: string, names: readonly string[]): string {
  const { name, distance } = nearestName(scenario, names);
  const meant = distance > Math.floor(name.length / 3) ? "; there are" : `; did you mean ${name}? There are`;
  return `there is no scenario ${scenario}${meant} ${names.join(", ")}`;
}

/** The help of one load test. `call` is how it is started with settings, such as "tokenclock run soak [SETTING=value ...]". */
export function scenarioHelp({ scenario, about, uses, own }: ScenarioSettings, call: string): string {
  const ofScenario = new Set(uses.map(({ name }) => name));
  return [
    `${call} [k6's arguments]`,
    ...(about === "" ? [] : ["", about]),
    ...(own.length === 0 ? [] : ["", `Settings that only ${scenario} has:`]),
    ...own.map((each) => entry(each.name, ownAllowed(each), String(each.value), each.doc ?? "")),
    ...(uses.length === 0 ? [] : ["", `Settings of ${scenario}:`]),
    ...uses.map(({ name, initial }) => settingEntry(name, initial)),
    "",
    "Settings that every scenario uses:",
    ...commonSettings.filter((name) => !ofScenario.has(name)).map((name) => settingEntry(name)),
    "",
    `Any other setting is refused. Set one with -e NAME=value, or as TOKENCLOCK_NAME in the environment; docs/settings.md says more.`,
  ].join("\n");
}
