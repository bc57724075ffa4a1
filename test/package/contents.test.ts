/** `npm pack` holds what users need and nothing else, and package checkers agree with its shape. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { pack, root, scratchFolder } from "./tarball.ts";

const folder = scratchFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const tarball = pack(folder);
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

describe("contents", () => {
  test("a module and its types for every source file, the data, and the pages and pictures for users", () => {
    const modules = ["src", "native"].flatMap((top) =>
      filesIn(top)
        .filter((file) => /\.[tj]s$/.test(file) && !file.endsWith(".d.ts"))
        .map((file) => `dist/${file.replace(/\.[tj]s$/, "")}`),
    );
    const expected = [
      ...modules.flatMap((module) => [`${module}.js`, `${module}.d.ts`]),
      ...filesIn("calibration"),
      ...["package.json", "README.md", "LICENSE", "CHANGELOG.md"],
      ...["benchmarks/README.md", "src/cli/README.md", "src/runtime/README.md"],
      ...filesIn("benchmarks/results").filter((file) => file.endsWith(".svg")),
    ];
    // Files more than these are of sources that are gone: `npm run build` removes them.
    expect(tarball.files).toEqual(expected.sort());
  });

  test("what the README links to is there, but for raw results and pages for contributors", () => {
    const readme = readFileSync(join(root, "README.md"), "utf8");
    const links = [...readme.matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)].map(([, path]) => path);
    const missing = links.filter((path) => !tarball.files.includes(path));
    expect(missing.filter((path) => !path.endsWith(".jsonl")).sort()).toEqual([
      ...["CONTRIBUTING.md", "native/README.md", "src/README.md"],
    ]);
  });

  test("everything that package.json refers to is there", () => {
    const { exports, bin, types } = manifest;
    const targets = [exports["."], exports["./runtime"]].flatMap((entry) => Object.values(entry));
    for (const path of [...targets, ...Object.values(bin), types, exports["./package.json"]]) {
      expect(tarball.files).toContain(String(path).replace("./", ""));
    }
  });

  test("it is small: most of it is the embedded model", () => {
    expect(tarball.unpackedBytes).toBeLessThan(9e6);
  });
});

describe("checkers", () => {
  test("publint finds nothing", () => {
    expect(check("publint", "src/cli.js", ["run", tarball.path, "--strict"])).toMatch(/All good/);
  });

  test("are-the-types-wrong finds nothing", () => {
    const args = [tarball.path, "--profile", "esm-only", "--no-color", "--no-emoji"];
    // Data is no module.
    args.push("--exclude-entrypoints", "./calibration/*");
    // It ends with an error when it finds any.
    expect(check("@arethetypeswrong/cli", "dist/index.js", args)).toContain("OK (ESM)");
  });
});

function filesIn(top: string): string[] {
  return readdirSync(join(root, top), { recursive: true, encoding: "utf8" })
    .map((file) => join(top, file))
    .filter((file) => statSync(join(root, file)).isFile());
}

/** Output of a development dependency's command; throws when it ends with an error. */
function check(name: string, script: string, args: readonly string[]): string {
  return execFileSync(process.execPath, [join(root, "node_modules", name, script), ...args], {
    cwd: folder,
    encoding: "utf8",
  });
}
