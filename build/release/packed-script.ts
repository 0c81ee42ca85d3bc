/** Stands for build/script.ts in a release, which has no bundler: k6 runs a script by itself. */

import { Problem } from "../program";
import type { openScript as realOpenScript } from "../script";

export const openScript: typeof realOpenScript = (file) => {
  throw new Problem(`${file}: a release runs scripts of your own with bin/k6 run (docs/own-scenarios.md)`);
};
