/** The suite's page in a real browser. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { readResults } from "../report/read/read";
import { assertPage, browserTests } from "../test/support/browser-page";
import { cache, ingestion, type RunSpec, writeRun } from "../test/support/synthetic";
import { ingestionStep, profileStep, type Step, speedStep, suiteOptions } from "./suite-plan";
import { type Done, writeSuiteReport } from "./suite-report";

const { skip, dir, browser } = browserTests("tokenclock-suite-page-");

const done = async (step: Step, spec: RunSpec): Promise<Done> => ({
  step,
  run: await readResults(writeRun(spec, join(dir, "runs"), step.name)),
});

test("the suite's page is silent, live by mouse and keyboard, readable on every screen, without scripts and on paper", {
  skip,
}, async () => {
  const options = suiteOptions({ baseUrl: "http://127.0.0.1:8000", outputFolder: dir, quick: true }, {}, {});
  const lengths = { inputTokens: 128, outputTokens: 64 };
  const common = { seed: 30, cacheTokens: 1600, slots: 16, lengths: [[128, 64]] as [number, number][] };
  const speeds = [1, 4, 8].map((parallel) =>
    done(
      speedStep(options, lengths, parallel, 0, () => false),
      cache({ ...common, shape: "loop", parallel: [parallel] }),
    ),
  );
  const steps = await Promise.all([
    done(ingestionStep(options, 0), ingestion({ seed: 20, tokensPerS: 8000, baseMs: 12 })),
    done(
      profileStep(options, lengths, () => false),
      cache({ ...common, shape: "burst", parallel: [1, 2, 4, 8, 10] }),
    ),
    ...speeds,
  ]);
  const words = `This model's maximum context length is 2048 tokens. <b>However</b>, ${"your prompt is too long. ".repeat(8)}`;
  const left = { inputTokens: 4096, outputTokens: 64, step: "generation_speed_x", status: 400, words };
  const parameters = { model: "org/tiny", model_name: "tiny", suite_id: "suite-1" };
  await writeSuiteReport(dir, steps, options, parameters, [left]);
  const file = join(dir, "report", "report.html");
  await assertPage(browser(), file);
  const page = await browser().newPage();
  await page.goto(`file://${file}`);
  assert.equal(await page.locator("#table-left_out b").count(), 0, "what the server wrote is text");
  assert.equal(await page.locator("figure").count(), 4);
  await page.close();
});
