/** Reads the file that a setting names. Pure: the caller opens it. */
import { SettingError } from "../../settings/setting-error";
import { shippedDatasets } from "../shipped-datasets";
import type { TextFile } from "./container";
import { type Keep, type ReadFile, type ReadSettings, type RowReader, readFile } from "./read";

/**
 * Hands the rows of the file that `setting` names, as `reader` makes them, to `keep`. `open` opens a file of the user's, or one that ships.
 * @throws SettingError that names the setting, the file and what is wrong with it.
 */
export function readNamed(
  setting: "DATASET" | "TRACE",
  settings: ReadSettings & { readonly DATASET: string; readonly TRACE: string },
  open: (file: string, ships: boolean) => TextFile,
  keep: Keep,
  reader?: RowReader,
): ReadFile {
  const name = settings[setting];
  const ships = setting === "DATASET" ? shippedDatasets[name] : undefined;
  let file: TextFile;
  try {
    file = open(ships ?? name, ships !== undefined);
  } catch (error) {
    const sets = setting === "DATASET" ? `; the sets that ship are ${Object.keys(shippedDatasets).join(", ")}` : "";
    throw new SettingError(`${setting}=${name} cannot be read: ${reasonOf(error)}${sets}`);
  }
  try {
    const read = readFile(setting, ships ?? name, file, settings, keep, reader);
    const about = (line: string) => `${setting}=${name}: ${line}`;
    return { ...read, found: about(read.found), notes: read.notes.map(about) };
  } catch (error) {
    throw new SettingError(`${setting}=${name}: ${reasonOf(error)}`);
  }
}

/** Go's errors come with the name of what threw them. */
function reasonOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/^(GoError: )?(new TextFile: )?/, "");
}
