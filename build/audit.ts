/**
 * `npm run audit`: known vulnerabilities of npm's packages and Go's modules, gosec and golangci-lint over the extension. What could
 * not be checked, because a database is out of reach, is reported and is no pass.
 */
import path from "node:path";
import { type Ended, runCommand } from "./command";
import { root } from "./paths";
import { runProgram } from "./program";

/** What a check found. */
export interface Finding {
  readonly state: "ok" | "found" | "not checked";
  readonly text: string;
}

const extensionDir = path.join(root, "extension");

/** The finding of `npm audit --json`. */
export function npmFinding({ stdout, stderr }: Ended): Finding {
  try {
    const { metadata } = JSON.parse(stdout) as { metadata: { vulnerabilities: Record<string, number> } };
    const { total = Number.NaN, ...by } = metadata.vulnerabilities;
    if (total === 0) return { state: "ok", text: "no known vulnerability" };
    if (total > 0) return { state: "found", text: JSON.stringify(by) };
  } catch {
    // The registry gave no report.
  }
  return { state: "not checked", text: `the registry gave no report: ${firstLine(stderr || stdout)}` };
}

/** The finding of govulncheck, whose code for vulnerabilities that the code calls (3) is one of `go run`'s (1); all else means that it did not get to the end. */
export function vulnFinding({ code, stdout, stderr }: Ended): Finding {
  if (code === 0) return { state: "ok", text: "no known vulnerability in what the code calls" };
  if (code !== 0 && /^Vulnerability #1/m.test(stdout)) return { state: "found", text: stdout.trim() };
  return { state: "not checked", text: `govulncheck did not end its work: ${firstLine(stderr || stdout)}` };
}

/** Findings of gosec that were read, and why they are none. The files are those below extension/. */
const reviewed: readonly { rule: string; files: RegExp; why: string }[] = [
  {
    rule: "G103",
    files: /^internal\/(client|clock|reader|ring|simulate|slab|wiretap)\//,
    why: "Memory that is shared with the kernel (rings, io vectors, control messages), sizes of its structures, texts outside of Go's heap.",
  },
  {
    rule: "G101",
    files: /^internal\/(coordinate\/command|simulate\/keys)\.go$/,
    why: "Names of a variable and of a path.",
  },
  {
    rule: "G404",
    files: /^(internal\/(access\/headers|schedule\/schedule|simulate\/schedule)|sse\/retry)\.go$/,
    why: "Seeded schedules, and ids of requests and traces: none of them is a secret.",
  },
  {
    rule: "G304",
    files:
      /^internal\/(access\/access|auth\/file|coordinate\/trust|host\/cgroup|module\/(runners|settings)|results\/results)\.go$/,
    why: "Files that the user's own settings name, and the kernel's.",
  },
  {
    rule: "G204",
    files: /^internal\/(calibrate\/calibrate|coordinate\/command)\.go$/,
    why: "This binary itself, and the judge that the user names.",
  },
  {
    rule: "G301",
    files: /^internal\/(coordinate\/server|results\/results)\.go$/,
    why: "Results are read by other users, such as a CI job's next step; no secret is in them.",
  },
  { rule: "G302", files: /^internal\/(coordinate\/server|records\/output)\.go$/, why: "The same, of records." },
  {
    rule: "G306",
    files: /^internal\/(coordinate\/command|wiretap\/cmd\/main_linux)\.go$/,
    why: "The same, of coordinator.json and captured packets of tests.",
  },
  {
    rule: "G402",
    files: /^internal\/coordinate\/trust\.go$/,
    why: "VerifyConnection checks the certificate by the token of both ends, instead of by a CA.",
  },
  {
    rule: "G115",
    files:
      /^internal\/(client\/http2|coordinate\/command|reader\/(reader|thread)_linux|records\/lines|ring\/(filter|flow|ring_linux)|schedule\/schedule|simulate\/(embeddings|fault|openai|poller_linux|predict|prompt|ring_linux|tickets|truth)|slab\/slab|stream\/(outcome|parser|stream|template|wire)|wiretap\/(tap_linux|wiretap))\.go$/,
    why: "Sequence numbers of TCP, which wrap; hashes; file descriptors, lengths and indices that are bounded before.",
  },
  {
    rule: "G407",
    files: /^internal\/simulate\/tickets\.go$/,
    why: "The nonce of a TLS record is its number, by RFC 8446, section 5.3.",
  },
  {
    rule: "G602",
    files: /^internal\/(reader\/thread_linux|simulate\/distribution|stream\/pointer)\.go$/,
    why: "Indices of arrays of a fixed length, and of a list that is as long as the one that is gone through.",
  },
  { rule: "G112", files: /^internal\/simulate\/http2\.go$/, why: "The simulated server, on loopback." },
];

/** What gosec's JSON holds that was not reviewed. */
export function gosecFinding({ stdout, stderr }: Ended): Finding {
  let report: { Issues: { rule_id: string; file: string; line: string; details: string }[] | null };
  try {
    report = JSON.parse(stdout);
    if (report.Issues === undefined) throw new Error("no issues");
  } catch {
    return { state: "not checked", text: `gosec gave no report: ${firstLine(stderr || stdout)}` };
  }
  const issues = (report.Issues ?? []).map((issue) => ({ ...issue, file: issue.file.replace(/^.*\/extension\//, "") }));
  const open = issues.filter(
    ({ rule_id, file }) => !reviewed.some(({ rule, files }) => rule === rule_id && files.test(file)),
  );
  if (open.length === 0) return { state: "ok", text: `${issues.length} findings, all reviewed (build/audit.ts)` };
  const lines = open.map(({ rule_id, file, line, details }) => `extension/${file}:${line}: ${rule_id}: ${details}`);
  return { state: "found", text: lines.join("\n") };
}

/** The finding of golangci-lint, by its code: 0 none, 1 some; all else means that it did not get to the end. */
export function lintFinding({ code, stdout, stderr }: Ended): Finding {
  if (code === 0) return { state: "ok", text: "nothing that extension/.golangci.yml looks for" };
  if (code === 1 && /^\S+\.go:\d+:/m.test(stdout)) return { state: "found", text: stdout.trim() };
  return { state: "not checked", text: `golangci-lint did not end its work: ${firstLine(stderr || stdout)}` };
}

/** The first line that says something of the check: `go run` names what it fetches before. */
const firstLine = (text: string): string =>
  text
    .trim()
    .split("\n")
    .find((line) => !line.startsWith("go: downloading ")) ?? "";

const go = (...args: string[]) => runCommand("go", ["run", ...args], { cwd: extensionDir });

const checks: readonly { what: string; run(): Promise<Finding> }[] = [
  {
    what: "npm's packages (npm audit)",
    run: async () => npmFinding(await runCommand("npm", ["audit", "--json"], { cwd: root })),
  },
  {
    what: "Go's modules (govulncheck)",
    run: async () => vulnFinding(await go("golang.org/x/vuln/cmd/govulncheck@v1.1.4", "./cmd/k6")),
  },
  {
    what: "the extension (gosec)",
    run: async () =>
      gosecFinding(await go("github.com/securego/gosec/v2/cmd/gosec@v2.22.10", "-quiet", "-fmt=json", "./...")),
  },
  {
    what: "the extension (golangci-lint)",
    run: async () =>
      lintFinding(
        await go("github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.8.0", "run", "--timeout", "10m", "./..."),
      ),
  },
];

if (process.argv[1] === __filename) {
  void runProgram(async () => {
    let code = 0;
    for (const { what, run } of checks) {
      const { state, text } = await run();
      console.log(`audit: ${what}: ${state === "ok" ? "ok" : state.toUpperCase()}: ${text}`);
      if (state !== "ok") code = 1;
    }
    return code;
  });
}
