/** The levels of a killed run, folded request by request, against the fold that has all of them at once. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { foldRecords } from "../../lib/figures/fold";
import type { LevelSummary, Stats } from "../../lib/figures/level-summary";
import type { RecordLine as CommonLine } from "../../lib/figures/records";
import { readRecords as linesIn } from "../../test/support/run";
import { batches, classes, type RunSpec, requestLine, sweep, talks, writeRun } from "../../test/support/synthetic";
import { readResults } from "./read";
import type { RecordLine } from "./records";

const dir = mkdtempSync(join(tmpdir(), "tokenclock-levels-"));
after(() => rmSync(dir, { recursive: true }));

/** A run as it would be killed: without a summary, and of these lines. */
function killed(
  spec: RunSpec,
  name: string,
  keep: (line: RecordLine) => boolean,
): { run: string; lines: CommonLine[] } {
  const run = writeRun(spec, dir, name);
  const lines = (linesIn(join(run, "records.ndjson.gz")) as RecordLine[]).filter(keep);
  rmSync(join(run, "summary.json"));
  rmSync(join(run, "records.ndjson.gz"));
  writeFileSync(join(run, "records.ndjson"), `${lines.map((line) => JSON.stringify(line)).join("\n")}\n`);
  return { run, lines: lines.filter((line): line is CommonLine => line.type !== "points" && line.type !== "pages") };
}

/** Of these every value of every token is pooled; a killed run's are in a histogram. */
const pooled = ["itlMs", "chunkGapMs", "arrivalUncertaintyMs"] as const;

function assertSame(found: LevelSummary, truth: LevelSummary): void {
  // A run wrote it as JSON: what is undefined there is not there.
  const plain = (level: LevelSummary) =>
    JSON.parse(JSON.stringify({ ...level, ...Object.fromEntries(pooled.map((key) => [key, undefined])) }));
  assert.deepEqual(plain(found), plain(truth));
  for (const key of pooled)
    for (const [name, value] of Object.entries(truth[key] as Stats)) {
      const own = found[key][name as keyof Stats];
      const within = /^p/.test(name) ? 0.003 : 1e-9;
      assert.ok(
        Math.abs(own - value) <= within * Math.abs(value) + 1e-3,
        `${truth.name} ${key} ${name}: ${own} for ${value}`,
      );
    }
}

/** The first requests of each level warm it up. */
function warmed(spec: RunSpec, count: number): RunSpec {
  const seen = new Map<string, number>();
  const requests = spec.requests.map((line) => {
    const before = seen.get(line.level) ?? 0;
    seen.set(line.level, before + 1);
    return before < count ? { ...line, phase: "warmup" as const } : line;
  });
  return { ...spec, requests };
}

const failing = sweep({
  seed: 1,
  concurrencies: [1, 4, 16],
  requestsPerLevel: 80,
  failBeyond: 12,
  sloMs: { ttft: 60 },
});
const specs: Record<string, RunSpec> = {
  "a sweep with SLOs, failures and warm-up": warmed(failing, 5),
  "a sweep of which no level was warm": warmed(failing, 80),
  conversations: talks({ seed: 2 }),
  "classes with SLOs of their own": classes({ seed: 3, lastsS: 3 }),
  "bursts of embeddings": batches({ seed: 4, sizes: [1, 16], embeddings: true }),
  "choices, hidden reasoning and usage that counts otherwise": {
    scenario: "my-chat",
    levels: [{ name: "c1", concurrency: 1, openMs: 0, closeMs: 4000 }],
    requests: Array.from({ length: 40 }, (_, index) => {
      const line = requestLine({
        level: "c1",
        index,
        sentMs: 100 * index,
        ttftMs: 20,
        gapsMs: [3, 0, 9, 9, 0.0004, 30],
      });
      const arrivals = line.arrivals?.map(([ns, tokens], i) => [ns, tokens, i % 2, 1000 * i]);
      const more = {
        outputTokens: 9 + (index % 4),
        hiddenTokens: 2,
        coalesced: 1,
        tokenSource: "usage",
        stamp: "ring",
      };
      return { ...line, arrivals, ...more, cachedTokens: 3 } as typeof line;
    }),
  },
};

for (const [what, spec] of Object.entries(specs))
  for (const [when, keep] of [
    ["after its levels", () => true],
    ["within them", (line: RecordLine) => line.type !== "level" && line.type !== "end"],
  ] as const)
    test(`${what}, killed ${when}: its levels are those of the whole fold`, async () => {
      const { run, lines } = killed(spec, `${what}-${when}`.replaceAll(" ", "-"), keep);
      const truth = foldRecords(lines).levels;
      const shares: number[] = [];
      const { levelSummaries } = await readResults(run, { onProgress: (share) => shares.push(share) });
      assert.deepEqual(
        levelSummaries.map(({ name }) => name),
        truth.map(({ name }) => name),
      );
      for (const [i, level] of truth.entries()) assertSame(levelSummaries[i] as LevelSummary, level);
      assert.deepEqual(
        shares,
        [...shares].sort((a, b) => a - b),
        "progress goes forward over both readings",
      );
      assert.equal(shares.at(-1), 1);
    });
