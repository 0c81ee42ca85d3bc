/** What every page of this project keeps in a real browser: silent, readable on each screen, fit for paper. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import { pathToFileURL } from "node:url";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { chromiumArgs, findChromium } from "./chromium";

/** A browser and a folder for the tests of a file, which end with them. `skip` says why there is no browser. */
export function browserTests(prefix: string): { skip: string | false; dir: string; browser: () => Browser } {
  const found = findChromium();
  const dir = mkdtempSync(join(tmpdir(), prefix));
  let browser: Browser | undefined;
  before(async () => {
    if ("path" in found) browser = await chromium.launch({ executablePath: found.path, args: chromiumArgs });
  });
  after(async () => {
    await browser?.close();
    rmSync(dir, { recursive: true });
  });
  return { skip: "missing" in found && `needs a browser: ${found.missing}`, dir, browser: () => browser as Browser };
}

/** A page that has time: a busy machine may take a minute to draw what takes a second. */
export async function openPage(browser: Browser, options: BrowserContextOptions = {}): Promise<Page> {
  const page = await browser.newPage(options);
  page.setDefaultTimeout(180_000);
  return page;
}

/** Everything that a page said or asked for beside itself. */
export function watched(page: Page, address: string): string[] {
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

/**
 * Fails unless the page is silent, and readable in light, in dark, 1280 and 390 px wide, with scripts and without: all pictures are
 * drawn, nothing scrolls sideways but boxes of their own, and no text is squeezed.
 */
export async function assertReadable(browser: Browser, file: string): Promise<void> {
  const address = pathToFileURL(file).href;
  for (const [colorScheme, width, javaScriptEnabled] of [
    ["light", 1280, true],
    ["dark", 390, true],
    ["dark", 1280, false],
    ["light", 390, false],
  ] as const) {
    const what = `${colorScheme} ${width} ${javaScriptEnabled}`;
    const page = await openPage(browser, { colorScheme, javaScriptEnabled, viewport: { width, height: 900 } });
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
    await page.close();
  }
}

/** Fails unless the still pictures are printed, in ink for paper, and nothing that only works on a screen. */
export async function assertFitForPaper(browser: Browser, file: string): Promise<void> {
  const page = await openPage(browser, { colorScheme: "dark", viewport: { width: 718, height: 900 } });
  await page.goto(pathToFileURL(file).href);
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
}
