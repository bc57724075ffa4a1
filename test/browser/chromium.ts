/**
 * Runs page scripts in a headless Chromium that is installed on the machine; nothing is downloaded.
 * A page script is a file `x.page.ts` in this folder that exports `run(input)`; its result must survive as JSON does.
 */
import { accessSync, constants } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";
import { type ServerOptions, serve } from "./server.ts";

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/** The program; undefined where none is found. The environment variable BITLOOM_CHROMIUM goes first. */
export const chromiumPath = findChromium();

/** Behind the name of a test suite: empty, or why it is skipped. */
export const skipNote =
  chromiumPath === undefined
    ? " (skipped: no Chromium found; install it or set BITLOOM_CHROMIUM to its path)"
    : "";

if (skipNote !== "") console.log(`The browser tests do not run${skipNote}.`);

export const switches = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A module that a page can run. */
export interface PageScript {
  run(input: never): unknown;
}

export interface TestPage {
  /**
   * Runs a script in the page: `page.run<typeof import("./onnx.page.ts")>("onnx", input)`.
   *
   * @param name - of the file, without ".page.ts".
   * @param input - plain data; bytes are better served as `files` and fetched.
   */
  run<S extends PageScript>(
    name: string,
    input: Parameters<S["run"]>[0],
  ): Promise<Awaited<ReturnType<S["run"]>>>;
  close(): Promise<void>;
}

/** Opens an empty page, served with the built library, in a browser of its own with an empty profile. */
export async function openPage(options: ServerOptions = {}): Promise<TestPage> {
  if (chromiumPath === undefined) throw new Error(`No page can be opened${skipNote}.`);
  const profile = await mkdtemp(join(tmpdir(), "bitloom-chromium-"));
  const server = await serve(options);
  const context = await chromium
    .launchPersistentContext(profile, {
      executablePath: chromiumPath,
      headless: true,
      args: switches,
    })
    .catch(async (reason: unknown) => {
      await server.close();
      await rm(profile, { recursive: true, force: true });
      throw reason;
    });
  const page = await context.newPage();
  // A worker that does not load tells only the console why.
  const said: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error") said.push(message.text());
  });
  await page.goto(`${server.origin}/`);
  return {
    async run<S extends PageScript>(
      name: string,
      input: Parameters<S["run"]>[0],
    ): Promise<Awaited<ReturnType<S["run"]>>> {
      const script = JSON.stringify(`/test/browser/${name}.page.js`);
      said.length = 0;
      try {
        const result: unknown = await page.evaluate(
          `import(${script}).then((page) => page.run(${JSON.stringify(input)}))`,
        );
        return result as Awaited<ReturnType<S["run"]>>;
      } catch (cause) {
        const notes = said.map((line) => `\nconsole: ${line}`).join("");
        const problem = cause instanceof Error ? cause.message : String(cause);
        throw new Error(`${name}.page.ts failed in the page: ${problem}${notes}`, { cause });
      }
    },
    async close() {
      await context.close();
      await server.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}

function findChromium(): string | undefined {
  const named = process.env.BITLOOM_CHROMIUM;
  if (named !== undefined && named !== "") return named;
  const folders = ["/usr/bin", ...(process.env.PATH ?? "").split(delimiter)].filter(Boolean);
  return folders.flatMap((folder) => names.map((name) => join(folder, name))).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
