/** report.html in a real browser: nothing in the console, nothing asked for on the network, every picture has a size. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { type Browser, chromium } from "playwright-core";
import { chromiumArgs, findChromium } from "../../test/support/chromium";
import { batches, cache, phases, ramp, sweep, writeRun } from "../../test/support/synthetic";
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

for (const [name, spec] of Object.entries({
  sweep: sweep({ seed: 1, failBeyond: 16, sloMs: { ttft: 100 } }),
  ramp: ramp({ seed: 2, capacity: 85 }),
  cache: cache({ seed: 7, shape: "burst", parallel: [1, 2, 3, 4], cacheTokens: 600, slots: 8 }),
})) {
  test(`the page of a ${name} opens without a console message and without the network`, { skip }, async () => {
    const run = writeRun(spec, dir, name);
    await renderReport(run);
    const address = pathToFileURL(join(run, "report.html")).href;
    for (const colorScheme of ["light", "dark"] as const) {
      const page = await (browser as Browser).newPage({ colorScheme, viewport: { width: 1100, height: 900 } });
      const messages: string[] = [];
      const requests: string[] = [];
      page.on("console", (message) => messages.push(message.text()));
      page.on("pageerror", (error) => messages.push(error.message));
      page.on("request", (request) => requests.push(request.url()));
      await page.goto(address, { waitUntil: "load" });
      assert.deepEqual(messages, []);
      assert.deepEqual(
        requests.filter((url) => url !== address && !url.startsWith("data:")),
        [],
      );

      const pictures = await page.locator("figure svg").all();
      assert.ok(pictures.length > 0);
      for (const picture of pictures) {
        const box = await picture.boundingBox();
        assert.ok(box && box.width > 600 && box.height > 150, JSON.stringify(box));
      }
      const background = await page.evaluate("getComputedStyle(document.body).backgroundColor");
      const ink = await page.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill");
      const brightness = (color: unknown) =>
        (String(color).match(/\d+/g) ?? []).slice(0, 3).reduce((sum, part) => sum + Number(part), 0);
      assert.ok(
        colorScheme === "dark" ? brightness(background) < 150 : brightness(background) > 600,
        String(background),
      );
      assert.ok(Math.abs(brightness(background) - brightness(ink)) > 300, `${ink} on ${background} cannot be read`);
      // Wide tables scroll in their own box: the page itself does not.
      const overflow = await page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth",
      );
      assert.equal(overflow, 0);
      await page.close();
    }
  });
}
