/**
 * The pages in a real browser, on a phone and on a desktop, light and dark, and on paper: nothing overlaps, nothing is cut
 * off, nothing is said on the console. With BITLOOM_SCREENSHOTS set to a folder the pictures stay there.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { renderComparison, renderReport } from "../../src/report/index.ts";
import { appliedReport, sampleQuality, sampleReport, smallReport } from "../report/sample.ts";
import { chromiumPath, skipNote, switches } from "./chromium.ts";
import { layoutProblems, unseen } from "./report-probe.ts";

/** Smallest contrast of text that WCAG 2 level AA allows. */
const leastContrast = 4.5;

const screens = {
  phone: { width: 390, height: 844 },
  desktop: { width: 1280, height: 900 },
  paper: { width: 794, height: 1123 },
} as const;

/** Pixels of A4 between the margins that the style sheet asks for. */
const printable = { width: 688, height: 1017 };

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
    more: BrowserContextOptions = {},
  ): Promise<{ readonly page: Page; readonly said: readonly string[] }> {
    const context = await browser.newContext({
      viewport: screens[screen],
      colorScheme,
      ...more,
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

    test("on paper everything is light and shown, and nothing is cut off", async () => {
      const { page, said } = await open(name, "paper", "dark");
      await page.emulateMedia({ media: "print", colorScheme: "dark" });
      expect(await page.evaluate("getComputedStyle(document.body).backgroundColor")).toBe(
        "rgb(255, 255, 255)",
      );
      expect(await page.evaluate(unseen("details > *, tbody tr"))).toEqual([]);
      for (const sheet of [screens.paper, printable]) {
        await page.setViewportSize(sheet);
        expect(await page.evaluate(layoutProblems(leastContrast))).toEqual([]);
      }
      expect(said).toEqual([]);
      await page.context().close();
    });
  });

  test("of 300 layers each is printed with its reason, without a script too", async () => {
    const { page } = await open("300-layers", "paper", "light", { javaScriptEnabled: false });
    await page.emulateMedia({ media: "print" });
    expect(await page.locator("#reasons tbody tr:visible").count()).toBe(301);
    const height = (await page.evaluate("document.documentElement.scrollHeight")) as number;
    const paper = (await page.pdf({ format: "A4" })).toString("latin1");
    const sheets = paper.match(/\/Type\s*\/Page\b/g) ?? [];
    expect(sheets.length).toBeGreaterThan(height / screens.paper.height);
    await page.context().close();
  });

  test("what is opened for the printer is closed afterwards, what was open stays open", async () => {
    const { page } = await open("300-layers", "desktop", "light");
    const opened = () =>
      page.evaluate(
        "[...document.querySelectorAll('details')].map((part) => part.open)",
      ) as Promise<boolean[]>;
    await page.locator("#bits summary").click();
    const before = await opened();
    expect(before.filter(Boolean)).toHaveLength(1);
    await page.evaluate("dispatchEvent(new Event('beforeprint'))");
    expect(await opened()).toEqual(before.map(() => true));
    await page.evaluate("dispatchEvent(new Event('afterprint'))");
    expect(await opened()).toEqual(before);
    await page.context().close();
  });

  test("a table is a stop of the tab key as long as it scrolls", async () => {
    const { page } = await open("language-model", "desktop", "light");
    const frame = page.locator("#reasons .scroll");
    const stop = () =>
      Promise.all(["tabindex", "role", "aria-label"].map((name) => frame.getAttribute(name)));
    const none = [null, null, null];
    await expect.poll(stop).toEqual(none);
    await page.setViewportSize(screens.phone);
    await expect.poll(stop).toEqual(["0", "region", "Why each layer has its format"]);
    await page.setViewportSize(screens.desktop);
    await expect.poll(stop).toEqual(none);
    // Opened later.
    const hidden = page.locator("#bits .scroll");
    await page.setViewportSize(screens.phone);
    await page.locator("#bits summary").click();
    await expect.poll(() => hidden.getAttribute("tabindex")).toBe("0");
    await page.setViewportSize(screens.desktop);
    await expect.poll(() => hidden.getAttribute("tabindex")).toBe(null);
    await page.context().close();
  });

  test("where a system forces its colours, marks that are nothing but a colour keep theirs", async () => {
    const { page } = await open("language-model", "desktop", "dark", { forcedColors: "active" });
    const grounds = (marks: string) =>
      page.evaluate(
        `[...document.querySelectorAll("${marks}")].map((mark) => getComputedStyle(mark).backgroundColor)`,
      ) as Promise<string[]>;
    const [canvas] = await grounds("body");
    for (const marks of [".chip", ".shares i", ".tiles .bar i", ".gauge i", ".gauge b"]) {
      const colours = await grounds(marks);
      expect(colours.length, marks).toBeGreaterThan(0);
      expect(colours, marks).not.toContain(canvas);
      expect(colours, marks).not.toContain("rgba(0, 0, 0, 0)");
    }
    expect(new Set(await grounds(".legend .chip")).size).toBeGreaterThan(2);
    await page.context().close();
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
    const { page, said } = await open("language-model", "phone", "dark", {
      javaScriptEnabled: false,
    });
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
});
