import path from "node:path";

/** The project's folder. */
export const root = path.join(__dirname, "..");

/** Lets a process load TypeScript: `node -r` takes it. */
export const loadTypeScript = path.join(root, "build", "typescript.cjs");

const exe = process.platform === "win32" ? ".exe" : "";

/** Where the k6 binary is built to. */
export const builtK6 = path.join(root, "bin", `k6${exe}`);

/** Where the bundles of scenarios/ are written to; those for a stock k6 with xk6-sse are in its folder xk6-sse/. */
export const distDir = path.join(root, "dist");

/** `path` as the user would type it from where they are. */
export function shown(file: string): string {
  const relative = path.relative(process.cwd(), file);
  return relative === "" || relative.startsWith("..") ? file : relative;
}
