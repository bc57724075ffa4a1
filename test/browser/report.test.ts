/**
 * The pages in a real browser, on a phone and on a desktop, light and dark: nothing overlaps, nothing is cut off, nothing
 * is said on the console. With BITLOOM_SCREENSHOTS set to a folder the pictures stay there.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { renderComparison, renderReport } from "../../src/report/index.ts";
import { appliedReport, sampleQuality, sampleReport, smallReport } from "../report/sample.ts";
import { chromiumPath, skipNote, switches } from "./chromium.ts";
import { layoutProblems } from "./report-probe.ts";

/** Smallest contrast of text that WCAG 2 level AA allows. */
const leastContrast = 4.5;

const screens = {
  phone: { width: 390, height: 844 },
  desktop: { width: 1280, height: 900 },
} as const;

const long = (block: number, role: string) =>
  `/a/transformer/with/long/names/layers.${block}/block_of_the_decoder/${role}/linear/MatMul`;

const first = sampleReport({ blocks: 5 });
const pages: Readonly<Record<string, () => Promise<string>>> = {
  "language-model": () => renderReport(first),
  "300-layers": () => renderReport(sampleReport({ blocks: 60, nameOf: long })),
  "one-layer": () => renderReport(smallReport()),
  "applied-plan": () => renderReport(appliedReport()),
  comparison: () =>
    renderComparison(first, {
      ...first,
      quality: sampleQuality(0.004),
      layers: first.layers.map((layer, at) =>
        at % 4 === 1 ? { ...layer, format: "int8-b128-asym", bits: 8 } : layer,
      ),
    }),
};

describe.skipIf(skipNote !== "")(`pages in Chromium${skipNote}`, () => {
  let folder = "";
  let browser: Browser;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "bitloom-report-"));
    browser = await chromium.launch({ executablePath: chromiumPath ?? "", args: switches });
    for (const [name, make] of Object.entries(pages)) {
      await writeFile(join(folder, `${name}.html`), await make());
    }
  });
  afterAll(async () => {
    await browser?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** Opens a page and hands back what went wrong in it so far. */
  async function open(
    name: string,
    screen: keyof typeof screens,
    colorScheme: "light" | "dark",
    javaScriptEnabled = true,
  ): Promise<{ readonly page: Page; readonly said: readonly string[] }> {
    const context = await browser.newContext({
      viewport: screens[screen],
      colorScheme,
      javaScriptEnabled,
    });
    const page = await context.newPage();
    const said: string[] = [];
    page.on("console", (message) => said.push(message.text()));
    page.on("pageerror", ({ message }) => said.push(message));
    page.on("request", (request) => {
      if (!request.url().startsWith("file:")) said.push(`asked for ${request.url()}`);
    });
    await page.goto(pathToFileURL(join(folder, `${name}.html`)).href);
    return { page, said };
  }

  describe.each(Object.keys(pages))("%s", (name) => {
    test.each([
      ["phone", "light"],
      ["phone", "dark"],
      ["desktop", "light"],
      ["desktop", "dark"],
    ] as const)("on a %s, %s", async (screen, scheme) => {
      const { page, said } = await open(name, screen, scheme);
      const keep = process.env.BITLOOM_SCREENSHOTS;
      const path = join(keep ?? folder, `${name}-${screen}-${scheme}.png`);
      const picture = await page.screenshot({ path, fullPage: true });
      expect(picture.length).toBeGreaterThan(10_000);
      expect(await page.evaluate(layoutProblems(leastContrast))).toEqual([]);
      // With every table open too.
      await page.evaluate(
        "for (const part of document.querySelectorAll('details')) part.open = true",
      );
      expect(await page.evaluate(layoutProblems(leastContrast))).toEqual([]);
      expect(said).toEqual([]);
      await page.context().close();
    });
  });

  test("tables sort by a click and by the keyboard, and come back", async () => {
    const { page } = await open("language-model", "desktop", "light");
    const bytes = () =>
      page.evaluate(
        "[...document.querySelectorAll('#reasons tbody tr')].map((row) => Number(row.cells[3].dataset.order))",
      ) as Promise<number[]>;
    const before = await bytes();
    const button = page.locator("#reasons thead button").nth(3);
    await button.click();
    expect(await bytes()).toEqual([...before].sort((a, b) => a - b));
    await button.press("Enter");
    expect(await bytes()).toEqual([...before].sort((a, b) => b - a));
    expect(await page.locator("#reasons thead th").nth(3).getAttribute("aria-sort")).toBe(
      "descending",
    );
    await button.press("Enter");
    expect(await bytes()).toEqual(before);
    await page.context().close();
  });

  test("without scripts everything is there", async () => {
    const { page, said } = await open("language-model", "phone", "dark", false);
    const text = await page.locator("main").textContent();
    for (const words of ["✓ kept", "int3-b32", "13.96", "Provenance", "Damping of"]) {
      expect(text).toContain(words);
    }
    expect(said).toEqual([]);
    await page.context().close();
  });

  test("the first stop of the tab key skips to the report", async () => {
    const { page } = await open("language-model", "desktop", "light");
    await page.keyboard.press("Tab");
    expect(await page.evaluate("document.activeElement.textContent")).toBe("Skip to the report");
    await page.keyboard.press("Enter");
    expect(page.url()).toMatch(/#main$/);
    await page.context().close();
  });

  test("on paper everything is light and nothing is cut off", async () => {
    const { page } = await open("language-model", "desktop", "dark");
    await page.emulateMedia({ media: "print", colorScheme: "dark" });
    expect(await page.evaluate("getComputedStyle(document.body).backgroundColor")).toBe(
      "rgb(255, 255, 255)",
    );
    const paper = await page.pdf({ format: "A4" });
    expect(paper.subarray(0, 5).toString()).toBe("%PDF-");
    await page.context().close();
  });
});
