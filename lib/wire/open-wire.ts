import { wireReader } from "../lazy";
import { type Config, orRefuse, userPath } from "../settings/config";
import { tokenclock } from "./client";
import type { Wire } from "./wire";

export type { Wire };

/**
 * The described API of the settings, where API names no built-in one. A description that cannot be used ends the run before any
 * load. Init context only.
 */
export function openWire(config: Config): Wire {
  return orRefuse(() => {
    return wireReader().describedWire(config, (file) => tokenclock.shared(`wire ${file}`, () => open(userPath(file))));
  });
}
