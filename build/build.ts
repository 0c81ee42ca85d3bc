/** `npm run build`: the k6 binary and the bundles. */
import { bundleLibrary, bundleScenarios } from "./bundle";
import { ensureK6 } from "./k6";
import { distDir, shown } from "./paths";
import { runProgram } from "./program";

void runProgram(async () => {
  const names = await bundleScenarios();
  console.log(`tokenclock: bundled ${names.length} scenarios into ${shown(distDir)}/: ${names.join(", ")}`);
  console.log(`tokenclock: bundled the library of load tests into ${shown(await bundleLibrary())}`);
  const k6 = await ensureK6();
  console.log(`tokenclock: k6 is ${shown(k6)}`);
  return 0;
});
