import { rates } from "../lazy";
import { type Config, orRefuse, userPath } from "../settings/config";
import { tokenclock } from "../wire/client";
import type { Stage } from "./stages";

/** The stages of an open load (see stagesOf); what is wrong with a setting or RATE_FILE ends the run. Init context only. */
export function openStages(config: Config): Stage[] {
  const readFile = __VU === 0 ? (file: string) => new tokenclock.TextFile(userPath(file)).text() : undefined;
  return orRefuse(() => rates().stagesOf(config, readFile));
}
