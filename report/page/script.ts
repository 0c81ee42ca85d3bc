/** The page's script, bundled once a process from live/main.ts, with the parts of ECharts that it uses and no others. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { buildSync } from "esbuild";

export interface PageScript {
  code: string;
  /** As a Content-Security-Policy names it. */
  hash: string;
}

let bundled: PageScript | undefined;

export function pageScript(): PageScript {
  if (bundled) return bundled;
  const { outputFiles } = buildSync({
    entryPoints: [join(__dirname, "live", "main.ts")],
    ...{ bundle: true, minify: true, write: false, format: "iife", platform: "browser", target: "es2022" },
    legalComments: "none",
    logLevel: "silent",
    // ECharts asks for it to leave its warnings out.
    define: { "process.env.NODE_ENV": '"production"' },
  });
  // Nothing in it ends the element that it stands in.
  const code = `/* ECharts (Apache-2.0), echarts.apache.org */\n${outputFiles[0]?.text ?? ""}`.replaceAll(
    "</script",
    "<\\/script",
  );
  bundled = { code, hash: `sha256-${createHash("sha256").update(code).digest("base64")}` };
  return bundled;
}
