/** A load test of the user's own, as `npm start` takes it. */
import path from "node:path";
import type { OwnSetting } from "../lib/settings/own";
import { bundle, libraryFromSource } from "./bundle";
import { declarationOf } from "./declaration";
import { distDir } from "./paths";
import { Problem } from "./program";

/** A script that can be run. */
export interface Script {
  /** Its bundle. */
  readonly file: string;
  /** The settings that it has of its own; undefined where only k6 will know them, which then refuses others. */
  readonly own: readonly Pick<OwnSetting, "name">[] | undefined;
}

/**
 * Bundles a script, and reads what it declares.
 * @throws Problem for a script that cannot be bundled or opens no test.
 */
export async function openScript(file: string): Promise<Script> {
  // What a script brings is its own matter.
  const [bundled = ""] = await bundle([file], path.join(distDir, "own"), [libraryFromSource], true, () => Infinity);
  return { file: bundled, own: await ownOf(file) };
}

async function ownOf(file: string): Promise<Script["own"]> {
  try {
    return (await declarationOf(file)).own ?? [];
  } catch (error) {
    if (error instanceof Problem) throw error;
    return undefined; // the script fails, perhaps only where k6's modules are stand-ins: k6 shows its error
  }
}
