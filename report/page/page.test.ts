/** report.html in a real browser: nothing in the console, nothing asked for on the network, every picture has a size. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import {
  assertFitForPaper,
  assertPage,
  assertReadable,
  browserTests,
  openPage,
  watched,
} from "../../test/support/browser-page";
import { pageKinds } from "../../test/support/page-kinds";
import { batches, cache, phases, ramp, sweep, writeRun } from "../../test/support/synthetic";
import { main as compare } from "../cli/compare";
import { formatNumber } from "../format";
import { renderReport } from "./render";

const { skip, dir, browser } = browserTests("tokenclock-page-");

for (const [name, spec] of Object.entries({
  sweep: sweep({ seed: 1, failBeyond: 16, sloMs: { ttft: 100 } }),
  bursts: batches({ seed: 3, sizes: [1, 64, 256], runs: 3 }),
  queueing: phases({ seed: 3 }),
  speed: cache({ seed: 7, shape: "loop", parallel: [1, 2, 16], cacheTokens: 600, slots: 8 }),
  ramp: ramp({ seed: 2, capacity: 85 }),
})) {
  test(`no table of a ${name} is wider than a page of 1200 px or than paper`, { skip }, async () => {
    const run = writeRun(spec, dir, `tables-${name}`);
    await renderReport(run);
    const page = await openPage(browser());
    await page.goto(pathToFileURL(join(run, "report.html")).href);
    await page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })");
    // A4 within margins of 10 mm, at 96 px an inch.
    for (const [media, width] of [
      ["screen", 1200],
      ["print", 718],
    ] as const) {
      await page.emulateMedia({ media });
      await page.setViewportSize({ width, height: 900 });
      const wide = await page.evaluate(
        "[...document.querySelectorAll('table')].filter((each) => each.offsetWidth > each.parentElement.clientWidth).map((each) => each.id + ' ' + each.offsetWidth)",
      );
      assert.deepEqual(wide, [], media);
    }
    await page.close();
  });
}

const specs = {
  sweep: sweep({ seed: 1, failBeyond: 16, sloMs: { ttft: 100 } }),
  ramp: ramp({ seed: 2, capacity: 85 }),
  cache: cache({ seed: 7, shape: "burst", parallel: [1, 2, 3, 4], cacheTokens: 600, slots: 8 }),
};
for (const [name, spec] of Object.entries(specs)) {
  test(`the page of a ${name} is readable in light, dark, on a phone and with scripts off, and silent`, {
    skip,
  }, async () => {
    const run = writeRun(spec, dir, name);
    await renderReport(run);
    const server = readFileSync(join(run, "report.html"), "utf8").includes('id="picture-server-metrics"');
    assert.equal(server, name === "cache", "the server's metrics over time, where it was polled");
    await assertReadable(browser(), join(run, "report.html"));
  });
}

test("the page of bursts is readable everywhere, silent and fit for paper", { skip }, async () => {
  const run = writeRun(batches({ seed: 3, sizes: [1, 64], runs: 2 }), dir, "bursts");
  await renderReport(run);
  const file = join(run, "report.html");
  await assertReadable(browser(), file);
  await assertFitForPaper(browser(), file);
});

test("the page of a comparison keeps what every page does, and shows the server's metrics", {
  skip,
}, async () => {
  const [a, b] = [1, 2].map((seed) =>
    writeRun(cache({ seed, shape: "burst", parallel: [1, 4], cacheTokens: 600, slots: 8 }), dir, `compared-${seed}`),
  ) as [string, string];
  const output = join(dir, "comparison");
  mkdirSync(output);
  const code = await compare([a, b, "--output", output], () => undefined);
  assert.ok([0, 96, 99].includes(code), `${code}`);
  const file = join(output, "compare.html");
  await assertPage(browser(), file);
  for (const picture of ["server-metrics", "change-1"])
    assert.ok(readFileSync(file, "utf8").includes(`id="picture-${picture}"`), picture);
});

for (const [name, make] of Object.entries(pageKinds)) {
  test(`the page of ${name}: silent, live by mouse and keyboard, readable on every screen, without scripts and on paper`, {
    skip,
  }, async () => {
    await assertPage(browser(), await make(dir));
  });
}

test("values show by hovering and by keyboard, series switch, a part is zoomed in and out", { skip }, async () => {
  const run = writeRun(specs.sweep, dir, "live");
  await renderReport(run);
  const address = pathToFileURL(join(run, "report.html")).href;
  const page = await openPage(browser(), { viewport: { width: 1280, height: 900 } });
  const seen = watched(page, address);
  await page.goto(address);
  const { rows } = JSON.parse(readFileSync(join(run, "tables", "levels.json"), "utf8")) as {
    rows: Record<string, number>[];
  };
  const figure = page.locator("#picture-ttft-by-concurrency");
  await figure.scrollIntoViewIfNeeded();
  const plot = figure.locator(".plot");
  await plot.locator("svg").waitFor();
  const box = await plot.boundingBox();
  assert.ok(box);
  // The level of 8 clients is at three fifths of a log axis from 1 to 32.
  const [left, right] = [88, box.width - 28];
  await page.mouse.move(box.x + left + 0.6 * (right - left), box.y + 120);
  const tooltip = plot.locator("div", { hasText: "p90" }).last();
  await tooltip.waitFor();
  const level = rows.find(({ concurrency }) => concurrency === 8) ?? {};
  const words = String(await tooltip.textContent());
  assert.match(words, /Concurrency \(clients\): 8/);
  for (const p of ["p50", "p90", "p99"])
    assert.ok(words.includes(`${p}: ${formatNumber(level[`ttft_${p}_ms`]).replace(/\.?0+$/, "")}`), `${p} in ${words}`);

  // By keyboard: two steps from the begin is the second level, and it is told to who cannot see it.
  await plot.focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  const announced = figure.locator(".announced");
  assert.match(String(await announced.textContent()), /Concurrency \(clients\): 2; p50: /);

  // Switched off, a series is neither drawn nor told.
  const p50 = figure.getByRole("button", { name: "p50" });
  await p50.press("Enter");
  assert.equal(await p50.getAttribute("aria-pressed"), "false");
  await plot.focus();
  await page.keyboard.press("ArrowRight");
  assert.match(String(await announced.textContent()), /^Concurrency \(clients\): 4; p90: /);
  await p50.press("Enter");

  // Zoomed to its middle the axis has fewer of the levels; all are back by Escape.
  const ticks = async () =>
    (await plot.locator("svg text").allTextContents()).filter((text) => /^(1|32)$/.test(text)).length;
  const before = await ticks();
  await plot.focus();
  await page.keyboard.press("+");
  const last = plot.locator("svg text", { hasText: /^32$/ });
  await last.waitFor({ state: "detached" });
  assert.ok((await ticks()) < before);
  await page.keyboard.press("Escape");
  await last.waitFor({ state: "attached" });

  // A point of a line that no axis is followed along shows its own values.
  const curve = page.locator("#picture-throughput-against-latency");
  await curve.scrollIntoViewIfNeeded();
  await page.locator("#picture-throughput-against-latency[data-drawn]").waitFor();
  const point = await curve.locator(".plot svg path[transform]").last().boundingBox();
  assert.ok(point);
  await page.mouse.move(point.x + point.width / 2, point.y + point.height / 2);
  await curve.locator(".plot > div", { hasText: /^Throughput \(output tokens\/s\): [\d,.]+p99 / }).waitFor();
  assert.deepEqual(seen, []);
  await page.close();
});

test("on paper the still pictures stand, and nothing that only works on a screen", { skip }, async () => {
  const run = writeRun(specs.sweep, dir, "print");
  await renderReport(run);
  await assertFitForPaper(browser(), join(run, "report.html"));
});
