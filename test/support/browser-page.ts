/** What every page of this project keeps in a real browser: silent, readable on each screen, fit for paper. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import { pathToFileURL } from "node:url";
import { type Browser, type BrowserContextOptions, chromium, type Locator, type Page } from "playwright-core";
import {
  type Axis,
  axisText,
  type ChartSpec,
  lineDash,
  noValue,
  type Panel,
  type Series,
} from "../../report/page/chart-option";
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

/** Waits until an expression holds in the page. Its policy forbids what Playwright's own waiting does there. */
async function until(page: Page, expression: string, what: string): Promise<void> {
  const endMs = Date.now() + 60_000;
  while (!(await page.evaluate(expression))) {
    if (Date.now() > endMs) throw new Error(`${what} did not come`);
    await page.waitForTimeout(20);
  }
}

/** Waits until each figure is drawn live: those that are seen at once, the others while nothing else is to be done. */
async function drawAll(page: Page): Promise<void> {
  await until(page, "document.querySelector('figure:not([data-drawn])') === null", "a live chart");
}

/** Waits until the live charts have the width of a viewport that has changed. */
async function redrawn(page: Page): Promise<void> {
  const fits = `[...document.querySelectorAll(".plot")].every((plot) =>
    Math.abs(plot.querySelector("svg").getBoundingClientRect().width - plot.clientWidth) < 1)`;
  await until(page, fits, "a chart of the new width");
}

/** Texts of too little contrast (WCAG's ratio, below 4.5) on what is behind them, once a pair of colours. Runs in the page. */
const paleTexts = `(() => {
  const parts = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
  const light = (color) => {
    const [r, g, b] = parts(color).map((part) => (part / 255 <= 0.03928 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((parts(color)[3] ?? 1) > 0.99) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const pale = new Map();
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== "");
    if (!own || /^(SCRIPT|STYLE)$/i.test(element.tagName) || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const [ink, paper] = [element instanceof SVGElement ? style.fill : style.color, behind(element)];
    const [a, b] = [light(ink), light(paper)].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) pale.set(ink + " on " + paper, element.textContent.trim().slice(0, 40));
  }
  return [...pale];
})()`;

/** Texts of a chart of which one lies on another. Runs in the page. */
const overlaidTexts = (shown: string) => `[...document.querySelectorAll(${JSON.stringify(shown)})].flatMap((svg) => {
  const boxes = [...svg.querySelectorAll("text")].map((each) => ({ text: each.textContent, box: each.getBoundingClientRect() }));
  return boxes.flatMap(({ text, box }, i) => boxes.slice(i + 1).flatMap((other) => {
    const wide = Math.min(box.right, other.box.right) - Math.max(box.left, other.box.left);
    const high = Math.min(box.bottom, other.box.bottom) - Math.max(box.top, other.box.top);
    return wide > 2 && high > 4 ? [svg.closest("figure").id + ": " + text + " and " + other.text] : [];
  }));
})`;

/** Texts of a chart that end beyond it. Runs in the page. */
const cutTexts = (shown: string) => `[...document.querySelectorAll(${JSON.stringify(shown)})].flatMap((svg) => {
  const box = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].flatMap((each) => {
    const { left, right, top, bottom } = each.getBoundingClientRect();
    const beyond = Math.max(box.left - left, right - box.right, box.top - top, bottom - box.bottom);
    return beyond > 2 ? [svg.closest("figure").id + ": " + each.textContent + " by " + Math.round(beyond)] : [];
  });
})`;

/** The pictures that a reader sees: the live ones, or the still ones without scripts. */
const picturesOf = (scripts: boolean) => (scripts ? "figure .plot svg" : "figure .still svg");

/** Fails unless all pictures are drawn, nothing scrolls sideways but boxes of their own, and no text is squeezed. Unfolds all details. */
async function assertFits(page: Page, what: string, shown: string): Promise<void> {
  const width = page.viewportSize()?.width ?? Number.NaN;
  const boxes = (await page.evaluate(
    `[...document.querySelectorAll(${JSON.stringify(shown)})].map((each) => [each.getBoundingClientRect().width, each.getBoundingClientRect().height])`,
  )) as [number, number][];
  assert.equal(boxes.length, await page.locator("figure").count(), what);
  for (const [wide, high] of boxes)
    assert.ok(wide > (width === 390 ? 330 : 600) && high > 110, `${what}: a picture of ${wide} x ${high}`);
  // Wide tables and pictures scroll in their own boxes: the page itself does not.
  assert.equal(await page.evaluate("document.documentElement.scrollWidth"), width, what);
  await page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })");
  // No text stands in a narrow column, broken within its words.
  const squeezed = await page.evaluate(`[...document.querySelectorAll("td, th")].filter((each) => {
    const text = document.createRange();
    text.selectNodeContents(each);
    const lines = new Set([...text.getClientRects()].map(({ top }) => Math.round(top))).size;
    return each.clientWidth < 120 && lines > each.textContent.trim().split(/\\s+/).length + 2;
  }).map((each) => each.textContent)`);
  assert.deepEqual(squeezed, [], what);
}

/** Fails unless the page fits its width, and every text can be read. */
async function assertLook(page: Page, what: string, scripts: boolean): Promise<void> {
  const shown = picturesOf(scripts);
  await assertFits(page, what, shown);
  assert.deepEqual(await page.evaluate(paleTexts), [], `${what}: pale texts`);
  assert.deepEqual(await page.evaluate(overlaidTexts(shown)), [], `${what}: texts on one another`);
  assert.deepEqual(await page.evaluate(cutTexts(shown)), [], `${what}: texts cut off`);
  if ((page.viewportSize()?.width ?? 0) > 1200)
    assert.deepEqual(await page.evaluate(wideTables), [], `${what}: wide tables`);
}

/** Tables that are wider than their box. Runs in the page. */
const wideTables =
  "[...document.querySelectorAll('table')].filter((each) => each.offsetWidth > each.parentElement.clientWidth).map((each) => each.id + ' ' + each.offsetWidth)";

/** Fails unless every section, table and still picture is printed, in ink for paper, and nothing that only works on a screen. */
async function assertPaper(page: Page): Promise<void> {
  await page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = false })");
  // A4 within margins of 10 mm, at 96 px an inch.
  await page.setViewportSize({ width: 718, height: 900 });
  await page.emulateMedia({ media: "print", colorScheme: "dark" });
  const seen = (selector: string) =>
    page.evaluate(
      `[...document.querySelectorAll(${JSON.stringify(selector)})].map((each) => each.checkVisibility() && each.getBoundingClientRect().height > 0)`,
    ) as Promise<boolean[]>;
  for (const selector of ["section", "table", ".still svg"])
    assert.ok((await seen(selector)).every(Boolean), `every ${selector} is printed`);
  for (const selector of [".live", "nav"])
    assert.ok(!(await seen(selector)).some(Boolean), `no ${selector} is printed`);
  assert.deepEqual(await page.evaluate(wideTables), [], "tables wider than paper");
  const ink = (await page.evaluate("getComputedStyle(document.querySelector('.still text')).fill")) as string;
  assert.ok((ink.match(/\d+/g) ?? []).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) < 300, `ink ${ink}`);
}

/** What a tooltip or a reader of a screen says of a point: its x, and its value. */
const wordsAt = (panel: Panel, series: Series, [x, y]: readonly [number, number | null]): [string, string] => [
  `${panel.x.title}: ${axisText(panel.x, x)}`,
  axisText(series.right && panel.right ? panel.right : panel.y, y ?? Number.NaN),
];

/** The lines of the tooltip that a figure shows, as soon as there is one. */
async function tooltipOf(page: Page, id: string, where: string): Promise<string[]> {
  const lines = `[...document.querySelectorAll("#picture-${id} .plot > div:not(.selected)")]
    .filter((each) => each.querySelector("svg") === null && each.style.display === "block" && each.style.visibility !== "hidden")
    .flatMap((each) => each.innerText.split("\\n"))`;
  await until(page, `${lines}.length > 1`, `a tooltip of ${id} ${where}`);
  return page.evaluate(lines);
}

/** Fails unless what is pointed at in a figure shows a tooltip with the numbers of the nearest point. */
async function assertHover(page: Page, figure: Locator, id: string, spec: ChartSpec, share: number): Promise<void> {
  const box = await figure.locator(".plot").boundingBox();
  assert.ok(box);
  const [panel] = spec.panels as [Panel];
  const all = spec.panels.flatMap((of) =>
    of.series.flatMap((series) => series.points.map((point) => ({ point, words: wordsAt(of, series, point) }))),
  );
  const assertOfPoint = (lines: readonly string[], where: string): void => {
    const [head, ...values] = lines;
    const there = all.filter(({ words: [x] }) => x === head);
    const own = there.filter(({ point: [, y] }) => y !== null);
    if (values.join() === noValue) {
      assert.ok(there.length > 0 && own.length === 0, `${id} ${where}: ${lines}, but ${own[0]?.words}`);
      return;
    }
    assert.ok(values.length > 0 && own.length > 0, `${id} ${where}: ${lines}`);
    for (const line of values)
      assert.ok(
        own.some(({ words: [, y] }) => line.includes(`: ${y}`)),
        `${id} ${where}: ${line} is none of the values there`,
      );
  };
  if (spec.hover === "point") {
    const symbols =
      (await page.evaluate(`[...document.querySelectorAll("#picture-${id} .plot path[transform]")].map((each) => {
      const { left, top, width, height } = each.getBoundingClientRect();
      return [left + width / 2, top + height / 2];
    })`)) as [number, number][];
    assert.ok(symbols.length > 0, `${id} has points`);
    const seen = new Set<string>();
    for (const at of [0, symbols.length - 1]) {
      const [x, y] = symbols[at] as [number, number];
      await page.mouse.move(x, y);
      const lines = await tooltipOf(page, id, `at point ${at}`);
      assertOfPoint(lines, `point ${at}`);
      seen.add(lines.join());
    }
    if (new Set(all.map(({ words }) => words.join())).size > 1) assert.equal(seen.size, 2, `${id}: each point its own`);
    return;
  }
  const right = spec.panels.some((of) => of.right) ? 74 : 28;
  const [from, to] = [88, box.width - right];
  const px = from + share * (to - from);
  await page.mouse.move(box.x + px, box.y + 22 + (panel.height ?? 250) / 2);
  const lines = await tooltipOf(page, id, `at ${share}`);
  if (spec.hover === "y") return;
  assertOfPoint(lines, `at ${share}`);
  const place = placeOf(panel.x, from, to);
  const points = panel.series.flatMap((series) => series.points.filter(([, y]) => y !== null));
  if (!place || points.length === 0) return;
  const off = ([x]: readonly [number, number | null]) => Math.abs(place(x) - px);
  const nearest = Math.min(...points.map(off));
  if (lines[1] === noValue) return;
  const told = points.filter(([x]) => `${panel.x.title}: ${axisText(panel.x, x)}` === lines[0]).map(off);
  assert.ok(Math.min(...told) <= nearest + 2, `${id} at ${share}: ${lines[0]} is not the nearest`);
}

/** Where an axis of known ends puts a value, px; undefined of one whose ends only ECharts knows. */
function placeOf(axis: Axis, from: number, to: number): ((x: number) => number) | undefined {
  const { min, max, categories } = axis;
  if (categories) return (x) => from + ((x + 0.5) / categories.length) * (to - from);
  if (min === undefined || max === undefined || max <= min) return undefined;
  const on = axis.scale === "log" ? Math.log : (x: number) => x;
  return (x) => from + ((on(x) - on(min)) / (on(max) - on(min))) * (to - from);
}

/** Fails unless every figure tells its values to mouse and keyboard, and the first switches series and zooms by both. */
async function assertLive(page: Page): Promise<void> {
  const specs = JSON.parse((await page.locator("#charts").textContent()) ?? "{}") as Record<string, ChartSpec>;
  const ids = Object.keys(specs);
  assert.equal(await page.locator("figure").count(), ids.length);
  for (const [i, id] of ids.entries()) {
    const spec = specs[id] as ChartSpec;
    const figure = page.locator(`#picture-${id}`);
    // A figure of many panels is higher than the screen: its first one is pointed at.
    await page.evaluate(`document.querySelector("#picture-${id}").scrollIntoView({ block: "start" })`);
    await assertHover(page, figure, id, spec, [0.2, 0.55, 0.9][i % 3] ?? 0.5);
    const [first] = spec.panels.flatMap((panel) =>
      panel.series.flatMap((series) => (series.points.length > 0 ? [{ panel, series }] : [])),
    );
    const point = first?.series.points.find(([, y]) => y !== null);
    assert.ok(first && point, `${id} shows something`);
    const lines = await page.evaluate(`[...document.querySelectorAll("#picture-${id} .legend button")]
      .map((each) => [each.textContent, getComputedStyle(each.querySelector("i")).borderTopStyle])`);
    for (const [name, style] of lines as [string, string][]) {
      const dashes = spec.panels.flatMap((panel) =>
        panel.series.flatMap((each, at) => (each.name === name ? [lineDash(each, at)] : [])),
      );
      assert.equal(style, dashes[0], `${id}: the legend's line of ${name}`);
    }
    await figure.locator(".plot").focus();
    await page.keyboard.press("ArrowRight");
    const told = String(await figure.locator(".announced").textContent());
    const [x, y] = wordsAt(first.panel, first.series, point);
    assert.ok(
      told.startsWith(`${x}; ${first.series.name}`) && told.includes(`: ${y}`),
      `${id}: ${told} for ${x}, ${y}`,
    );
  }
  await page.mouse.move(2, 2);
  // One with several values along an axis of numbers shows what zooming does.
  const id = ids.find((each) => {
    const [panel] = specs[each]?.panels ?? [];
    return !panel?.x.categories && panel?.series.some(({ points }) => new Set(points.map(([x]) => x)).size > 2);
  });
  const figure = page.locator(`#picture-${id ?? ids[0]}`);
  await figure.scrollIntoViewIfNeeded();
  // Texts that are drawn once more may stand in another order in the document.
  const texts = async () => (await figure.locator(".plot svg text").allTextContents()).sort().join(" ");
  const drawn = () => figure.locator(".plot svg path").count();
  const before = [await texts(), await drawn()];
  if (id !== undefined) {
    for (const zoom of [
      () => page.keyboard.press("+"),
      () => figure.getByRole("button", { name: /^Zoom in/ }).click(),
    ]) {
      await figure.locator(".plot").focus();
      await zoom();
      await page.waitForTimeout(50);
      assert.notDeepEqual([await texts(), await drawn()], before, `${id} is zoomed`);
      await figure.locator(".plot").focus();
      await page.keyboard.press("Escape");
      await page.waitForTimeout(50);
      assert.equal(await texts(), before[0], `all of ${id} is seen again`);
    }
  }
  const [button] = await figure.locator(".legend button").all();
  if (!button) return;
  for (const press of [() => button.press("Enter"), () => button.click()]) {
    await press();
    assert.equal(await button.getAttribute("aria-pressed"), "false");
    assert.ok((await drawn()) < Number(before[1]), `a series of ${id} is switched off`);
    await press();
    assert.equal(await button.getAttribute("aria-pressed"), "true");
  }
}

/**
 * Fails unless a page keeps what every page does: it asks for nothing, is silent, tells its values to mouse and keyboard, and can be
 * read on a wide screen, on a phone (390 px), in light and dark, without scripts and on paper.
 */
export async function assertPage(browser: Browser, file: string): Promise<void> {
  const address = pathToFileURL(file).href;
  const page = await openPage(browser, { colorScheme: "light", viewport: { width: 1280, height: 900 } });
  const seen = watched(page, address);
  await page.goto(address, { waitUntil: "load" });
  await drawAll(page);
  await assertLook(page, "light, 1280 px", true);
  await assertLive(page);
  await page.emulateMedia({ colorScheme: "dark" });
  await page.setViewportSize({ width: 390, height: 900 });
  await redrawn(page);
  await assertLook(page, "dark, 390 px", true);
  await assertPaper(page);
  assert.deepEqual(seen, []);
  await page.close();

  const still = await openPage(browser, {
    ...{ colorScheme: "dark", javaScriptEnabled: false, viewport: { width: 1280, height: 900 } },
  });
  const asked = watched(still, address);
  await still.goto(address, { waitUntil: "load" });
  await assertLook(still, "dark, 1280 px, without scripts", false);
  await still.emulateMedia({ colorScheme: "light" });
  await still.setViewportSize({ width: 390, height: 900 });
  await assertLook(still, "light, 390 px, without scripts", false);
  assert.deepEqual(asked, []);
  await still.close();
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

    const shown = picturesOf(javaScriptEnabled);
    const background = await page.evaluate("getComputedStyle(document.body).backgroundColor");
    const ink = await page.evaluate(`getComputedStyle(document.querySelector('${shown} text')).fill`);
    assert.ok(colorScheme === "dark" ? brightness(background) < 150 : brightness(background) > 600, what);
    assert.ok(Math.abs(brightness(background) - brightness(ink)) > 200, `${what}: ${ink} on ${background}`);
    await assertFits(page, what, shown);
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
