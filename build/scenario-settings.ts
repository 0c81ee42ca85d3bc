/** The settings of a load test, as docs and --help show them: read from what its script declares. */
import { readFileSync } from "node:fs";
import path from "node:path";
import type { OwnSetting } from "../lib/settings/own";
import { type SettingName, settings } from "../lib/settings/settings";
import { settingsOf } from "../lib/settings/used-settings";
import { scenarioNames } from "./bundle";
import { declarationOf } from "./declaration";
import { root } from "./paths";

/** A setting that a load test uses beside those that every test uses. */
export interface UsedSetting {
  readonly name: SettingName;
  /** The test's own default as one would type it, "" where it takes the general one away; undefined where the general one holds. */
  readonly initial?: string;
}

/** What a load test says of itself and its settings. */
export interface ScenarioSettings {
  readonly scenario: string;
  /** The comment at the top of its script as one line; "" where there is none. */
  readonly about: string;
  /** The settings that it uses beside the common ones, in the order in which it declares them. */
  readonly uses: readonly UsedSetting[];
  /** The settings that only this test has: test.setting(). */
  readonly own: readonly OwnSetting[];
}

/** The settings of the load test in a script. @throws Error where it opens none. */
export async function settingsOfScript(file: string): Promise<ScenarioSettings> {
  const { scenario, defaults: initials, uses, own = [] } = await declarationOf(file);
  const defaults: Readonly<Record<string, unknown>> = initials;
  // A number may stand for a distribution of that value alone.
  const shown = (name: SettingName, value: unknown) => {
    const read = typeof value === "number" ? settings[name].parse(String(value)) : value;
    return String(settings[name].show((read ?? value) as never) ?? "");
  };
  return {
    scenario,
    about: aboutOf(readFileSync(file, "utf8")),
    uses: [...new Set(settingsOf(uses))].map((name) =>
      name in defaults ? { name, initial: shown(name, defaults[name]) } : { name },
    ),
    own,
  };
}

/** The same of a shipped scenario. */
export function settingsOfScenario(name: string): Promise<ScenarioSettings> {
  return settingsOfScript(path.join(root, "scenarios", `${name}.ts`));
}

/** The same of all shipped scenarios. */
export function scenarioSettings(): Promise<ScenarioSettings[]> {
  return Promise.all(scenarioNames().map(settingsOfScenario));
}

function aboutOf(script: string): string {
  const [, comment = ""] = /^\s*\/\*\*([\s\S]*?)\*\//.exec(script) ?? [];
  return comment.replace(/\s*\n\s*\*?\s*/g, " ").trim();
}
