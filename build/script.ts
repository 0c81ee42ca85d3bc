/** A load test of the user's own, as `npm start` takes it. */
import path from "node:path";
import type { OwnSetting } from "../lib/settings/own";
import { bundle, libraryFromSource } from "./bundle";
import { declarationOf } from "./declaration";
import { distDir } from "./paths";

/** A script that can be run. */
export interface Script {
  /** Its bundle. */
  readonly file: string;
  /** The settings that it has of its own; undefined where only k6 will know them, which then refuses others. */
  readonly own: readonly Pick<OwnSetting, "name">[] | undefined;
}

/** Reads what a script declares, and bundles it. */
export async function openScript(file: string): Promise<Script> {
  const { own = [] } = await declarationOf(file);
  const [bundled = ""] = await bundle([file], path.join(distDir, "own"), [libraryFromSource]);
  return { file: bundled, own };
}
