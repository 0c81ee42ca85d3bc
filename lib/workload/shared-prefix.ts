import { SettingError } from "../settings/setting-error";
import type { Settings } from "../settings/settings";
import type { Distribution } from "./distribution";

/** @throws SettingError for a SHARED_PREFIX that is all of the longest prompt: then all are the same. */
export function requirePromptsOfTheirOwn(
  { SHARED_PREFIX: prefix, MAX_INPUT_TOKENS: limit = Infinity }: Settings,
  inputs: Distribution,
): void {
  const most = Math.min(limit, largest(inputs));
  if (prefix < most) return;
  throw new SettingError(
    `SHARED_PREFIX=${prefix} makes all prompts the same, which have ${most} tokens at most; set less, or a larger INPUT_TOKENS`,
  );
}

/** The largest number that it can draw; Infinity where there is none. */
function largest(of: Distribution): number {
  if (of.kind === "oneof") return Math.max(...of.values);
  return of.kind === "fixed" ? of.value : of.kind === "uniform" ? of.high : of.kind === "zipf" ? of.max : Infinity;
}
