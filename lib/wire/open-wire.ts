import { keyOf } from "../settings/access";
import { isDescribed } from "../settings/apis";
import { type Config, orRefuse, userPath } from "../settings/config";
import type { WireDescription } from "../settings/wire-description";
import { shared } from "./client";
import type { WireBody } from "./wire";

/** An API that is read by its description. */
export interface Wire {
  readonly description: WireDescription;
  /** The request body for a prompt. */
  readonly body: WireBody;
  /** The server can be made to generate as many tokens as are asked for. */
  readonly forces: boolean;
  readonly namesModel: boolean;
  /** Headers of its own, filled in. */
  readonly headers: Readonly<Record<string, string>>;
  /** One of them carries the key. */
  readonly ownKey: boolean;
}

/**
 * The described API of the settings; undefined where API names a built-in one. A description that cannot be used ends the run
 * before any load. Init context only.
 */
export function openWire(config: Config): Wire | undefined {
  const { API: api } = config;
  if (!isDescribed(api)) return undefined;
  return orRefuse(() => {
    const { checkWire, fillText, forces, namesModel, parseWire, requirePlaces, wireBody } =
      require("./wire") as typeof import("./wire");
    const read = (): WireDescription => {
      if (api !== "custom") {
        const { readyWires } = require("./ready-wires") as typeof import("./ready-wires");
        return checkWire(api, readyWires[api]);
      }
      if (typeof config.WIRE !== "string") return checkWire(config.WIRE.name ?? "of the script", config.WIRE);
      const file = config.WIRE;
      return parseWire(
        file,
        shared(`wire ${file}`, () => open(userPath(file))),
      );
    };
    const description = read();
    requirePlaces(description, config);
    const values = { model: config.MODEL, api_key: keyOf(config) };
    const headers = Object.entries(description.request.headers ?? {});
    return {
      description,
      body: wireBody(description, config),
      forces: forces(description),
      namesModel: namesModel(description),
      headers: Object.fromEntries(
        headers.flatMap(([name, text]) => {
          const value = fillText(text, values);
          return value === undefined ? [] : [[name, value]];
        }),
      ),
      ownKey: headers.some(([, text]) => /\{\{\s*api_key\s*\}\}/.test(text)),
    };
  });
}
