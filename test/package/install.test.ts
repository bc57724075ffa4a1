/**
 * The tarball in an empty project: the command, the README's example and its types. Without a network: the runtime
 * dependencies are linked from this checkout before npm installs the rest.
 */
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { version } from "../../src/version.ts";
import { section } from "../support/markdown.ts";
import { npm, pack, root, scratchFolder } from "./tarball.ts";

const folder = scratchFolder();
const project = join(folder, "project");
const readme = readFileSync(join(root, "README.md"), "utf8");
const example = /```ts\n([\s\S]*?)```/.exec(section(readme, "example"))?.[1] ?? "";

beforeAll(() => {
  mkdirSync(project);
  const manifest = { name: "empty", private: true, type: "module" };
  writeFileSync(join(project, "package.json"), JSON.stringify(manifest));
  for (const name of runtimePackages()) {
    const link = join(project, "node_modules", name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(root, "node_modules", name), link, "junction");
  }
  npm(["install", "--offline", "--ignore-scripts", "--no-audit", pack(folder).path], project);
  const data = join(root, "calibration", "tiny-lm");
  for (const name of ["model.onnx", "tokenizer.json"])
    cpSync(join(data, name), join(project, name));
  // A short text keeps the run short: the example leaves every other choice at its default.
  const text = readFileSync(join(data, "calibration.txt"), "utf8").slice(0, 6_000);
  writeFileSync(join(project, "calibration.txt"), text);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the command", () => {
  const quantize = (...args: string[]) =>
    npm(["exec", "--offline", "--", "quantize", ...args], project);

  test("npx quantize --version", () => {
    expect(quantize("--version")).toBe(`${version}\n`);
  });

  test("npx quantize inspect", () => {
    expect(quantize("inspect", "model.onnx")).toMatch(/36 layers in 5 blocks/);
  });
});

describe("the library", () => {
  test("the README's example, checked by a strict compiler that sees declarations only", () => {
    writeFileSync(join(project, "example.ts"), example);
    const options = [
      "--strict",
      "--skipLibCheck",
      "false",
      "--module",
      "nodenext",
      "--target",
      "es2023",
    ];
    const compiler = createRequire(import.meta.url).resolve("typescript/bin/tsc");
    const types = ["--types", "node", "--typeRoots", join(root, "node_modules/@types")];
    run(compiler, "example.ts", ...options, ...types);
    const [bitsPerWeight, bytes] = run("example.js").split(" ").map(Number);
    expect(bitsPerWeight).toBeGreaterThan(3.3);
    expect(bitsPerWeight).toBeLessThanOrEqual(3.5);
    expect(bytes).toBe(statSync(join(project, "model.q.onnx")).size);
    expect(JSON.parse(readFileSync(join(project, "plan.json"), "utf8")).version).toBe(1);
  });

  test("data files and the browser entry resolve by the package's name", () => {
    const code = `
      const { createSession } = await import("bitloom/runtime");
      const data = import.meta.resolve("bitloom/calibration/tiny-lm/model.onnx");
      console.log(typeof createSession, data.endsWith("tiny-lm/model.onnx"));`;
    expect(run("--input-type=module", "-e", code)).toBe("function true\n");
  });
});

function run(...args: string[]): string {
  return execFileSync(process.execPath, args, { cwd: project, encoding: "utf8" });
}

/**
 * Packages that the runtime dependencies need, themselves included, as far as this platform has them. From the lock
 * file: what npm noted in node_modules may be older than a package's move among the dependencies.
 */
function runtimePackages(): string[] {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
    readonly packages: Readonly<
      Record<string, { readonly dev?: boolean; readonly devOptional?: boolean }>
    >;
  };
  return Object.entries(packages)
    .filter(
      ([path, { dev, devOptional }]) =>
        path !== "" && !dev && !devOptional && !path.slice(1).includes("/node_modules/"),
    )
    .filter(([path]) => existsSync(join(root, path)))
    .map(([path]) => path.replace("node_modules/", ""));
}
