/** Finds a Chromium for the tests of report.html; installs Debian's package where that is possible and none is there. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

const commonPaths = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/usr/bin/google-chrome-stable",
  "/snap/bin/chromium",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
  "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
];

/** Arguments of a Chromium that asks nobody for anything, fit for root and containers. */
export const chromiumArgs = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

function installed(): string | undefined {
  return [process.env.CHROME_PATH ?? "", ...commonPaths].find((path) => path !== "" && existsSync(path));
}

/** Path of a Chromium: CHROME_PATH, a common path, or (as root, with apt-get) Debian's package; else why there is none. */
export function findChromium(): { path: string } | { missing: string } {
  const path = installed();
  if (path !== undefined) return { path };
  const hint = "set CHROME_PATH to a Chromium or Chrome";
  if (process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) return { missing: `no Chromium was found; ${hint}` };
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  for (const args of [
    ["update", "-qq"],
    ["install", "-y", "-qq", "--no-install-recommends", "chromium"],
  ]) {
    const { status } = spawnSync("apt-get", args, { env, stdio: "ignore", timeout: 600_000 });
    if (status !== 0) return { missing: `apt-get ${args[0]} failed; ${hint}` };
  }
  const now = installed();
  return now === undefined ? { missing: `Debian's chromium has an unknown path; ${hint}` } : { path: now };
}
