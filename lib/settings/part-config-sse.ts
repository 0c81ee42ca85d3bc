/** Stands in for part-config.ts in the bundles of dist/xk6-sse/: classes, and clients beside the test's own, need the module. */
import { SettingError } from "./setting-error";

function refused(): never {
  throw new SettingError("classes of load, and clients beside the test's own, need k6/x/tokenclock");
}

export { refused as asSet, refused as ofAnotherHost, refused as partConfig };
