/** A release for this machine: made twice, unpacked in an empty folder, used with nothing on the PATH. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { before, type TestContext, test } from "node:test";
import { root } from "../../build/paths";
import { isHost, targets } from "../../build/release/target";
import { actionStep, defaultInputs, expressionOf, filledIn } from "../support/action";
import { type ChildEnd, startChild } from "../support/child";
import { cycloneDxFaults } from "../support/cyclonedx";
import { scratchDir } from "../support/scratch";
import { startServer } from "../support/simulated";

const target = targets.find(isHost);
const skip =
  target === undefined || target.os === "windows" ? "no release is for this machine, or none that sh starts" : false;
const dir = scratchDir();
const made = (name: string) => path.join(dir, name);

/** Makes the release into a folder. Its Node is this one: the package of npm would be fetched. */
async function release(output: string): Promise<void> {
  const program = ["build/bootstrap.cjs", "build/release/release.ts", "--only", target?.name ?? "", "--output", output];
  const { code, stdout, stderr } = await startChild(
    process.execPath,
    [...program, "--runtime", "host", "--level", "0"],
    {
      ...{ cwd: root, timeoutMs: 180_000, env: { ...process.env, SOURCE_DATE_EPOCH: "1700000000" } },
    },
  ).ended;
  assert.equal(code, 0, stdout + stderr);
}

/** The unpacked archive. */
let home = "";

/** Runs the unpacked command in an empty folder. */
function tokenclock(args: readonly string[], cwd: string): Promise<ChildEnd> {
  mkdirSync(cwd, { recursive: true });
  // The variable of who has a Node of their own is no setting.
  const env = { PATH: made("nothing"), HOME: cwd, TOKENCLOCK_NODE: path.join(home, "bin", "node") };
  return startChild("/bin/sh", [path.join(home, "tokenclock"), ...args], { cwd, env, timeoutMs: 60_000 }).ended;
}

before(async () => {
  if (skip) return;
  await release(made("one"));
  const archive = readdirSync(made("one")).find((file) => file.endsWith(".tar.gz")) ?? "";
  mkdirSync(made("unpacked"));
  const { code, stderr } = await startChild("tar", ["-xzf", path.join(made("one"), archive), "-C", made("unpacked")], {
    timeoutMs: 60_000,
  }).ended;
  assert.equal(code, 0, stderr);
  home = path.join(made("unpacked"), archive.replace(".tar.gz", ""));
});

test("the same sources make the same bytes, and SHA256SUMS has them", { skip }, async () => {
  await release(made("two"));
  const sums = readFileSync(path.join(made("one"), "SHA256SUMS"), "utf8");
  assert.equal(readFileSync(path.join(made("two"), "SHA256SUMS"), "utf8"), sums);
  const lines = sums.trim().split("\n");
  assert.equal(lines.length, 2);
  for (const line of lines) {
    const [sum, file = ""] = line.split("  ");
    assert.equal(
      createHash("sha256")
        .update(readFileSync(path.join(made("two"), file)))
        .digest("hex"),
      sum,
    );
  }
  // Nor do they know where they were made.
  for (const file of ["lib/cli.cjs", "dist/concurrency-sweep.js", "dist/concurrency-sweep.js.map", "bin/k6"]) {
    assert.ok(!readFileSync(path.join(home, file)).includes(root), `${file} has ${root}`);
  }
});

test("run, report, gate and compare work with neither Node nor Go, and say by exit code what they found", {
  skip,
}, async () => {
  const cwd = made("empty");
  const settings = ["CONCURRENCY=1,2", "REQUESTS=10", "OUTPUT_TOKENS=8", "THRESHOLDS=none", "RESULTS=out"];
  const ran = await tokenclock(["run", "concurrency-sweep", "SIMULATE=true", ...settings], cwd);
  // A busy machine may make the client invalid; what counts here is that it ran and was judged.
  assert.ok([0, 98].includes(ran.code ?? -1), ran.stdout + ran.stderr);
  assert.match(ran.stdout, /^c2 +10 /m);
  assert.ok(existsSync(path.join(cwd, "out", "report.html")));

  const rendered = await tokenclock(["report", "out", "-o", "page"], cwd);
  assert.equal(rendered.code, 0, rendered.stderr);
  const pictures = readdirSync(path.join(cwd, "page", "pictures"));
  assert.ok(
    pictures.some((file) => file.endsWith(".png")),
    pictures.join(),
  );
  assert.match(readFileSync(path.join(cwd, "page", "report.html"), "utf8"), /ECharts/);

  const { verdict } = JSON.parse(readFileSync(path.join(cwd, "out", "summary.json"), "utf8"));
  if (verdict.validity === "VALID") {
    const kept = await tokenclock(["gate", "out", "--slo-ttft", "60000", "--percentile", "50"], cwd);
    assert.equal(kept.code, 0, kept.stdout + kept.stderr);
    const broken = await tokenclock(["gate", "out", "--slo-ttft", "0.001", "--percentile", "50"], cwd);
    assert.equal(broken.code, 99, broken.stdout + broken.stderr);
  }
  // A run that was no part of another is no part: merge says so in its verdict.
  const merged = await tokenclock(["merge", "out", "--parts", "1", "--output", "merged"], cwd);
  assert.equal(merged.code, 98, merged.stdout + merged.stderr);
  assert.match(merged.stdout, /its records do not say which part of which run they are/);
  const twice = await tokenclock(["compare", "--baseline", "out", "--candidate", "out"], cwd);
  assert.deepEqual([twice.code, /is named twice/.test(twice.stdout)], [104, true], twice.stdout + twice.stderr);
});

test("a script of one's own runs as it is, and its misspelt setting or a missing library is refused", {
  skip,
}, async () => {
  const cwd = made("own");
  mkdirSync(cwd);
  const example = path.join(home, "examples", "own-requests.ts");
  copyFileSync(example, path.join(cwd, "mine.ts"));
  const alone = await tokenclock(["run", "./mine.ts", "SIMULATE=true"], cwd);
  assert.equal(alone.code, 104, alone.stderr);
  assert.match(alone.stderr, /mine\.ts imports \.\/tokenclock\.js, which is not there: copy tokenclock\.js/);

  copyFileSync(path.join(home, "dist", "tokenclock.js"), path.join(cwd, "tokenclock.js"));
  const misspelt = await tokenclock(["run", "./mine.ts", "SIMULATE=true", "HAET=1"], cwd);
  assert.equal(misspelt.code, 104, misspelt.stderr);
  assert.match(misspelt.stderr, /HAET/);
  const ran = await tokenclock(["run", "./mine.ts", "SIMULATE=true", "REQUESTS=6", "HEAT=1.5", "RESULTS=out"], cwd);
  assert.ok([0, 96, 98].includes(ran.code ?? -1), ran.stdout + ran.stderr);
  const { config } = JSON.parse(readFileSync(path.join(cwd, "out", "summary.json"), "utf8"));
  assert.deepEqual([config.HEAT, config.REQUESTS], [1.5, 6]);
  for (const file of ["report.html", "records.ndjson.gz"]) assert.ok(existsSync(path.join(cwd, "out", file)), file);
});

test("help, version, completion and what is misspelt", { skip }, async () => {
  const cwd = made("help");
  const { version } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
  const cases: [string[], number, RegExp][] = [
    [["--version"], 0, new RegExp(`^${version}$`, "m")],
    [["--help"], 0, /^ {2}calibrate /m],
    [["gate", "--help"], 0, /Usage: tokenclock gate \[options\] <dir>[\s\S]*--slo-ttft/],
    [["run", "concurrency-sweep", "--help"], 0, /^ {2}REQUESTS {2}a whole number .*; default 32$/m],
    [["run", "--bogus"], 104, /--bogus is no option of k6 run/],
    [["completion", "bash"], 0, /concurrency-sweep[\s\S]*--slo-ttft/],
    [["gate"], 104, /missing required argument 'dir'/],
    [["gaet"], 104, /there is no command gaet/],
    [["run", "concurrency-sweep", "CONCURENCY=1", "SIMULATE=true"], 104, /CONCURENCY/],
  ];
  const ended = await Promise.all(cases.map(([args]) => tokenclock(args, cwd)));
  for (const [i, { code, stdout, stderr }] of ended.entries()) {
    const [args, wanted, said] = cases[i] as (typeof cases)[number];
    assert.equal(code, wanted, `${args.join(" ")}: ${stdout}${stderr}`);
    assert.match(stdout + stderr, said);
  }
});

test("the archive names what it is made of, with licences", { skip }, () => {
  const bill = JSON.parse(readFileSync(path.join(home, "sbom.cdx.json"), "utf8"));
  assert.deepEqual(cycloneDxFaults(bill), []);
  const { components } = bill as {
    components: { name: string; version: string; licenses: { license?: { id: string }; expression?: string }[] }[];
  };
  const licences = new Map(components.map(({ name, licenses: [one] }) => [name, one?.license?.id ?? one?.expression]));
  for (const [name, licence] of [
    ["go.k6.io/k6/v2", "AGPL-3.0-only"],
    ["std", "BSD-3-Clause"],
    ["echarts", "Apache-2.0"],
    ["@resvg/resvg-js", "MPL-2.0"],
    ["papaparse", "MIT"],
    ["node", "MIT"],
  ] as const) {
    assert.equal(licences.get(name), licence, name);
  }
  // The library is for scripts of the user's own, with its types.
  for (const file of ["tokenclock.js", "tokenclock.d.ts", "k6-x-tokenclock.d.ts"]) {
    assert.ok(existsSync(path.join(home, "dist", file)), file);
  }
  const notices = readFileSync(path.join(home, "THIRD_PARTY_LICENSES"), "utf8");
  for (const { name, version } of components) assert.ok(notices.includes(`${name} ${version} (`), name);
});

/** The archive and how it is called. */
const archiveOf = (folder: string) => readdirSync(folder).find((file) => file.endsWith(".tar.gz")) ?? "";

/** Runs a script of this project in a folder. */
function script(file: string, args: readonly string[], env: NodeJS.ProcessEnv, cwd = dir): Promise<ChildEnd> {
  return startChild("sh", [path.join(root, file), ...args], {
    cwd,
    env: { ...process.env, ...env },
    timeoutMs: 120_000,
  }).ended;
}

/** The path of a command; undefined where it is not installed. */
const found = (command: string) =>
  (process.env.PATH ?? "")
    .split(path.delimiter)
    .map((folder) => path.join(folder, command))
    .find((file) => existsSync(file));
const noCapabilities =
  skip ||
  (process.platform !== "linux" || process.getuid?.() !== 0 || !found("setcap") || !found("setpriv")
    ? "needs root, setcap and setpriv, as the image's build has them"
    : false);

test("the image's k6 runs as any user: with the packet ring where NET_RAW is given, and without it where it is not", {
  skip: noCapabilities,
}, async (t) => {
  chmodSync(dir, 0o755);
  const folder = made("image");
  const archive = path.join(made("one"), archiveOf(made("one")));
  const installed = await script("image/install.sh", [archive, folder, made("bin")], {});
  if (/Operation not supported/.test(installed.stderr)) {
    t.skip(`the file system of ${folder} keeps no capabilities`);
    return;
  }
  assert.equal(installed.code, 0, installed.stderr);
  const server = await startServer();
  try {
    const asUser = async (...bounding: string[]) => {
      const out = made(`user${bounding.length}`);
      mkdirSync(out);
      chmodSync(out, 0o777);
      const own = ["--reuid", "12345", "--regid", "12345", "--clear-groups", ...bounding];
      const words = [path.join(made("bin"), "k6"), "run", "--quiet", path.join(folder, "dist", "concurrency-sweep.js")];
      const settings = { CONCURRENCY: "1", REQUESTS: "4", OUTPUT_TOKENS: "4", THRESHOLDS: "none", RESULTS: out };
      const given = Object.entries({ ...settings, BASE_URL: server.baseUrl }).flatMap(([k, v]) => ["-e", `${k}=${v}`]);
      const { code, stdout, stderr } = await startChild(found("setpriv") ?? "", [...own, ...words, ...given], {
        ...{ cwd: out, timeoutMs: 60_000, env: { PATH: "/nonexistent", HOME: out, K6_NO_USAGE_REPORT: "true" } },
      }).ended;
      // A busy machine may make it CLIENT-BOUND.
      assert.ok([0, 98, 99].includes(code ?? -1), stdout + stderr);
      return stdout;
    };
    assert.match(await asUser(), /^stamps: ring /m);
    const without = await asUser("--bounding-set", "-net_raw");
    assert.match(without, /^stamps: socket .*the process has no CAP_NET_RAW/m);
    // The binary as it was released has no capability, and runs as well.
  } finally {
    await server.stop();
  }
});

/** A server of loopback for GitHub's part: a release's files, and comments of one pull request. */
async function github(t: TestContext, files: string) {
  const comments: { id: number; body: string }[] = [];
  const calls: string[] = [];
  const server = http.createServer((request, response) => {
    const url = request.url ?? "";
    if (url.startsWith("/download/")) {
      const file = path.join(files, path.basename(url));
      response.writeHead(existsSync(file) ? 200 : 404).end(existsSync(file) ? readFileSync(file) : "");
      return;
    }
    let text = "";
    request.on("data", (piece) => {
      text += piece;
    });
    request.on("end", () => {
      calls.push(`${request.method} ${url} ${request.headers.authorization}`);
      const { body = "" } = text === "" ? {} : (JSON.parse(text) as { body?: string });
      if (request.method === "POST") comments.push({ id: comments.length + 7, body });
      const own = comments.find(({ id }) => url.endsWith(`/comments/${id}`));
      if (request.method === "PATCH" && own) own.body = body;
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify(request.method === "GET" ? comments : {}));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, comments, calls };
}

const noAction = skip || (found("curl") ? false : "curl is not installed");

/** Runs a step of action.yml with these inputs; the files that GitHub gives a step are in the folder `temp`. */
function runStep(
  name: string,
  temp: string,
  given: { inputs?: object; github?: object; steps?: object; env?: NodeJS.ProcessEnv },
): Promise<ChildEnd> {
  const { run, env } = actionStep(name);
  const context = {
    inputs: { ...defaultInputs(), ...given.inputs },
    github: { token: "secret", ref_name: "topic", event: { repository: { default_branch: "main" } }, ...given.github },
    steps: given.steps ?? {},
  };
  const own = Object.fromEntries(Object.entries(env).map(([key, value]) => [key, filledIn(value, context)]));
  const files = { GITHUB_PATH: "path", GITHUB_ENV: "env", GITHUB_OUTPUT: "output" };
  return startChild("sh", ["-c", run], {
    cwd: temp,
    env: {
      ...process.env,
      ...{ GITHUB_ACTION_PATH: root, RUNNER_TEMP: temp, GITHUB_REPOSITORY: "o/r" },
      ...Object.fromEntries(Object.entries(files).map(([key, file]) => [key, path.join(temp, file)])),
      ...given.env,
      ...own,
    },
    timeoutMs: 120_000,
  }).ended;
}

/** The values in a file of NAME=value lines. */
const valuesIn = (file: string): Record<string, string> =>
  Object.fromEntries(
    readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .map((line) => line.split("=", 2)),
  );

test("the action installs a release, makes a baseline, compares with it and keeps one comment", {
  skip: noAction,
}, async (t) => {
  const { url, comments, calls } = await github(t, made("one"));
  const temp = made("runner");
  mkdirSync(temp);
  const file = (name: string) => path.join(temp, name);
  const installed = await runStep("Install", temp, { inputs: { "release-url": `${url}/download` } });
  assert.equal(installed.code, 0, installed.stderr);
  const { CI_TOKENCLOCK_HOME = "" } = valuesIn(file("env"));
  assert.equal(readFileSync(file("path"), "utf8").trim(), CI_TOKENCLOCK_HOME);
  const env = { CI_TOKENCLOCK_HOME, GITHUB_API_URL: url };

  const server = await startServer("--step-time", "20ms");
  t.after(server.stop);
  const inputs = {
    ...{ "base-url": server.baseUrl, runs: "1", gate: "--slo-ttft 60000 --percentile 50" },
    settings: "CONCURRENCY=2\nREQUESTS=12\nOUTPUT_TOKENS=4\nTHRESHOLDS=none",
  };
  let said = "";
  /** A run of the step that measures; its outputs. */
  const step = async (own: object, github: object = {}) => {
    writeFileSync(file("output"), "");
    const given = { inputs: { ...inputs, ...own }, github, env };
    const { code, stdout, stderr } = await runStep("Run, gate and compare", temp, given);
    said = stdout + stderr;
    assert.equal(code, 0, said);
    return valuesIn(file("output"));
  };
  const comment = async (outputs: Record<string, string>) => {
    const github = { event: { pull_request: { number: 5 } } };
    const context = { inputs: defaultInputs(), github, steps: { run: { outputs } } };
    assert.ok(expressionOf(actionStep("Comment on the pull request").condition ?? "false", context));
    const { code, stderr } = await runStep("Comment on the pull request", temp, { ...context, env });
    assert.equal(code, 0, stderr);
  };
  const verdict = async (outputs: Record<string, string>) =>
    (await runStep("Verdict", temp, { steps: { run: { outputs } } })).code;

  // A run that is no baseline and has none to be compared with is no pass.
  const first = await step({});
  assert.ok(["96", "98"].includes(first.code ?? ""), said);
  assert.equal(first.baseline, "none");
  assert.equal(await verdict(first), Number(first.code));
  if (first.code === "96")
    assert.match(readFileSync(first.comment ?? "", "utf8"), /there is no baseline to compare with/);

  // A busy machine makes the client invalid, which makes no baseline.
  let baseline: Record<string, string> = { code: "98" };
  for (let i = 0; i < 3 && baseline.code === "98"; i++) baseline = await step({}, { ref_name: "main" });
  if (baseline.code === "98") return t.skip("this machine is too busy for the client to judge a server");
  assert.deepEqual([baseline.code, baseline.baseline], ["0", "made"], said);
  assert.equal(await verdict(baseline), 0);
  assert.ok(existsSync(path.join(temp, ".tokenclock", "baseline", "run-1", "summary.json")));
  const compared = await step({});
  // One run a side leaves changes unclear as a rule; in the next step the job ends with this code.
  assert.ok(["0", "96", "98", "99"].includes(compared.code ?? ""), compared.code);
  assert.equal(compared.baseline, "none");
  await comment(compared);
  await comment(compared);
  assert.equal(comments.length, 1);
  assert.match(comments[0]?.body ?? "", /^<!-- tokenclock default -->\n### tokenclock: (passed|did not pass)/);
  if (compared.code !== "98") assert.match(comments[0]?.body ?? "", /ttft/i);
  assert.deepEqual(
    calls.map((each) => each.split(" ")[0]),
    ["GET", "POST", "GET", "PATCH"],
  );

  const dead = await step({ "base-url": "http://127.0.0.1:9/v1" });
  assert.notEqual(dead.code, "0");
  assert.equal(await verdict(dead), Number(dead.code));
  assert.match(readFileSync(dead.comment ?? "", "utf8"), /did not pass \(exit code \d+\)/);
  for (const [own, line] of [
    [{ "base-url": "" }, /usage: BASE_URL=/],
    [{ scenario: "concurency-sweep" }, /concurency-sweep/],
    [{ runs: "many" }, /CI_RUNS=many is not a whole number from 1/],
    [{ runs: "0" }, /CI_RUNS=0 is not a whole number from 1/],
    [{ gate: "--slo-tfft 500" }, /--slo-tfft/],
    [{ settings: "CONCURENCY=2" }, /CONCURENCY/],
  ] as const) {
    const refused = await step(own);
    assert.match(said, line);
    assert.notEqual(await verdict(refused), 0, JSON.stringify(own));
    assert.equal(refused.baseline, "none");
  }
  for (const [own, line] of [
    [{ settings: "what" }, /settings has what, which is not NAME=value/],
    [{ baseline: "ture" }, /baseline is "ture"; it must be true or false/],
    [{ comment: "yes" }, /comment is "yes"; it must be true or false/],
  ] as const) {
    const bad = await runStep("Run, gate and compare", temp, { inputs: { ...inputs, ...own }, env });
    assert.deepEqual([bad.code, line.test(bad.stderr)], [104, true], bad.stderr);
  }
});

test("the action refuses an archive with other bytes than SHA256SUMS has", { skip: noAction }, async (t) => {
  const folder = made("damaged");
  mkdirSync(folder);
  writeFileSync(path.join(folder, archiveOf(made("one"))), "no archive");
  writeFileSync(path.join(folder, "SHA256SUMS"), readFileSync(path.join(made("one"), "SHA256SUMS")));
  const { url } = await github(t, folder);
  const temp = made("runner-damaged");
  mkdirSync(temp);
  const { code } = await runStep("Install", temp, { inputs: { "release-url": `${url}/download` } });
  assert.notEqual(code, 0);
  assert.ok(!existsSync(path.join(temp, "path")));
});

test("the Dockerfile's instructions find their files and install the release", { skip: noCapabilities }, async (t) => {
  // Its absolute folders are below this one; release/ is the one that was made.
  const image = made("layers");
  const inside = (words: string) => words.replace(/(^|\s)\/(?=tmp\/|opt\/|usr\/)/g, `$1${image}/`);
  mkdirSync(path.join(image, "usr", "local", "bin"), { recursive: true });
  const architecture = target?.name.split("/")[1] ?? "";
  const run: string[] = [];
  for (const [, instruction, rest = ""] of readFileSync(path.join(root, "Dockerfile"), "utf8").matchAll(
    /^(COPY|RUN) (.*)$/gm,
  )) {
    if (instruction === "RUN" && !rest.startsWith("apt-get ")) run.push(inside(rest));
    if (instruction !== "COPY" || rest.startsWith("--from=")) continue;
    const words = inside(rest.replace(/\$\{TARGETARCH\}/g, architecture)).split(" ");
    const to = words.pop() ?? "";
    const from = words.map((word) => (word.startsWith("release/") ? made(word.replace("release", "one")) : word));
    run.push(`mkdir -p ${to} && cp ${from.join(" ")} ${to}`);
  }
  // The copy comes first in the file, as the instruction that needs it follows.
  const copied = await startChild("sh", ["-ec", run.join("\n")], { cwd: root, timeoutMs: 60_000 }).ended;
  if (/Operation not supported/.test(copied.stderr)) {
    t.skip(`the file system of ${image} keeps no capabilities`);
    return;
  }
  assert.equal(copied.code, 0, copied.stderr);
  const { code, stdout } = await startChild(path.join(image, "usr", "local", "bin", "tokenclock"), ["--version"], {
    timeoutMs: 60_000,
    env: { ...process.env, TOKENCLOCK_NODE: path.join(image, "opt", "tokenclock", "bin", "node") },
  }).ended;
  assert.deepEqual([code, /^\d+\.\d+\.\d+/.test(stdout)], [0, true], stdout);
});
