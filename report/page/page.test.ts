/** report.html in a real browser: nothing in the console, nothing asked for on the network, every picture has a size. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { chromiumArgs, findChromium } from "../../test/support/chromium";
import { batches, cache, phases, ramp, sweep, writeRun } from "../../test/support/synthetic";
import { formatNumber } from "../format";
import { renderReport } from "./render";

const found = findChromium();
const skip = "missing" in found ? `needs a browser: ${found.missing}` : false;
const dir = mkdtempSync(join(tmpdir(), "tokenclock-page-"));
let browser: Browser | undefined;
before(async () => {
  if ("path" in found) browser = await chromium.launch({ executablePath: found.path, args: chromiumArgs });
});
after(async () => {
  await browser?.close();
  rmSync(dir, { recursive: true });
});

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
    const page = await (browser as Browser).newPage();
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

/** Everything that a page said or asked for beside itself. */
function watched(page: Page, address: string): string[] {
  const seen: string[] = [];
  page.on("console", (message) => seen.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => seen.push(`error: ${error.message}`));
  page.on("request", (request) => {
    if (request.url() !== address && !request.url().startsWith("data:")) seen.push(`request: ${request.url()}`);
  });
  return seen;
}

/** Scrolls along the page until each of its figures is drawn live. */
async function drawAll(page: Page): Promise<void> {
  for (const figure of await page.locator("figure").all()) {
    await figure.scrollIntoViewIfNeeded();
    await page.locator(`#${await figure.getAttribute("id")}[data-drawn]`).waitFor();
  }
}

const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);
const brightness = (color: unknown) => sum((String(color).match(/\d+/g) ?? []).slice(0, 3).map(Number));

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
    const address = pathToFileURL(join(run, "report.html")).href;
    for (const [colorScheme, width, javaScriptEnabled] of [
      ["light", 1280, true],
      ["dark", 390, true],
      ["dark", 1280, false],
      ["light", 390, false],
    ] as const) {
      const what = `${colorScheme} ${width} ${javaScriptEnabled}`;
      const context = await (browser as Browser).newContext({
        ...{ colorScheme, javaScriptEnabled, viewport: { width, height: 900 } },
      });
      const page = await context.newPage();
      const seen = watched(page, address);
      await page.goto(address, { waitUntil: "load" });
      if (javaScriptEnabled) await drawAll(page);
      assert.deepEqual(seen, [], what);

      const shown = javaScriptEnabled ? "figure .plot svg" : "figure .still svg";
      const pictures = await page.locator(shown).all();
      assert.equal(pictures.length, await page.locator("figure").count(), what);
      for (const picture of pictures) {
        const box = await picture.boundingBox();
        assert.ok(box && box.width > (width === 390 ? 330 : 600) && box.height > 110, `${what} ${JSON.stringify(box)}`);
      }
      const background = await page.evaluate("getComputedStyle(document.body).backgroundColor");
      const ink = await page.evaluate(`getComputedStyle(document.querySelector('${shown} text')).fill`);
      assert.ok(colorScheme === "dark" ? brightness(background) < 150 : brightness(background) > 600, what);
      assert.ok(Math.abs(brightness(background) - brightness(ink)) > 200, `${what}: ${ink} on ${background}`);
      // Wide tables and pictures scroll in their own boxes: the page itself does not.
      assert.equal(await page.evaluate("document.documentElement.scrollWidth"), width, what);
      // No text stands in a narrow column, broken within its words.
      await page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })");
      const squeezed = await page.evaluate(`[...document.querySelectorAll("td, th")].filter((each) => {
        const text = document.createRange();
        text.selectNodeContents(each);
        const lines = new Set([...text.getClientRects()].map(({ top }) => Math.round(top))).size;
        return each.clientWidth < 120 && lines > each.textContent.trim().split(/\\s+/).length + 2;
      }).map((each) => each.textContent)`);
      assert.deepEqual(squeezed, [], what);
      await context.close();
    }
  });
}

test("values show by hovering and by keyboard, series switch, a part is zoomed in and out", { skip }, async () => {
  const run = writeRun(specs.sweep, dir, "live");
  await renderReport(run);
  const address = pathToFileURL(join(run, "report.html")).href;
  const page = await (browser as Browser).newPage({ viewport: { width: 1280, height: 900 } });
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
  assert.deepEqual(seen, []);
  await page.close();
});

test("on paper the still pictures stand, and nothing that only works on a screen", { skip }, async () => {
  const run = writeRun(specs.sweep, dir, "print");
  await renderReport(run);
  const page = await (browser as Browser).newPage({ colorScheme: "dark", viewport: { width: 718, height: 900 } });
  await page.goto(pathToFileURL(join(run, "report.html")).href);
  await page.emulateMedia({ media: "print", colorScheme: "dark" });
  for (const [selector, visible] of [
    [".still svg", true],
    [".live", false],
    ["nav", false],
  ] as const)
    for (const each of await page.locator(selector).all()) assert.equal(await each.isVisible(), visible, selector);
  assert.ok(
    brightness(await page.evaluate("getComputedStyle(document.querySelector('.still text')).fill")) < 300,
    "dark ink",
  );
  await page.close();
});
