/**
 * Rules about the project that no compiler checks: who imports whom, sizes, registries, dependencies, versions.
 * The import rules themselves are the table in src/README.md.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, extname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { version } from "../src/version.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const read = (path: string) => readFileSync(join(root, path), "utf8");
const manifest = JSON.parse(read("package.json")) as {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
};

interface ImportRule {
  readonly folder: string;
  readonly allows: (other: string) => boolean;
  readonly packages: readonly string[];
}

interface Import {
  readonly file: string;
  readonly folder: string;
  /** A folder or file of src, or a package. */
  readonly target: string;
  readonly isPackage: boolean;
}

const rules = parseRules(read("src/README.md"));
const imports = ["src", "benchmarks"].flatMap((top) => sourceFiles(top).flatMap(importsOf));

describe("imports", () => {
  test("every folder and file of src has a rule, and every rule a folder or file", () => {
    const present = readdirSync(join(root, "src")).filter((name) => name !== "README.md");
    expect([...rules.keys()].sort()).toEqual([...present, "benchmarks"].sort());
  });

  test("own modules are imported as src/README.md allows", () => {
    const broken = imports
      .filter(({ folder, target, isPackage }) => !isPackage && target !== folder)
      .filter(({ folder, target }) => !rules.get(folder)?.allows(target))
      .map(({ file, target }) => `${file} imports ${target}`);
    expect(broken).toEqual([]);
  });

  test("packages are imported only by their one folder", () => {
    const broken = imports
      .filter(({ folder, target, isPackage }) => isPackage && !packagesOf(folder).includes(target))
      .map(({ file, target }) => `${file} imports ${target}`);
    expect(broken).toEqual([]);
    const owned = [...rules.values()]
      .filter(({ folder }) => folder !== "benchmarks")
      .flatMap(({ packages }) => packages);
    expect(owned.filter((name, at) => owned.indexOf(name) !== at)).toEqual([]);
  });

  test("the import scan sees imports, type imports, re-exports and dynamic imports", () => {
    expect(imports.length).toBeGreaterThan(300);
    const text = [
      'import a from "./a.ts";',
      'import type { b } from "./b.ts";',
      'export * from "./c.ts";',
      'const d = await import("./d.ts");',
      '// import e from "./e.ts";',
    ].join("\n");
    expect(specifiers(text)).toEqual(["./a.ts", "./b.ts", "./c.ts", "./d.ts"]);
  });
});

describe("sources", () => {
  test("no file of src is longer than 400 lines", () => {
    const long = sourceFiles("src").filter((file) => read(file).split("\n").length > 400);
    expect(long).toEqual([]);
  });

  test("only the command writes to the terminal", () => {
    const writers = sourceFiles("src")
      .filter((file) => !file.startsWith("src/cli/"))
      .filter((file) => /\bconsole\s*\.|process\.(stdout|stderr)/.test(read(file)));
    expect(writers).toEqual([]);
  });

  test("version.ts and the changelog agree with package.json", () => {
    expect(version).toBe(manifest.version);
    expect(/^## (\S+)/m.exec(read("CHANGELOG.md"))?.[1]).toBe(manifest.version);
  });
});

describe("registries", () => {
  const registries = [
    { folder: "score", name: "scorers" },
    { folder: "allocate", name: "allocators" },
    { folder: "correct", name: "corrections" },
    { folder: "quantize", name: "quantizers" },
    { folder: "rewrite", name: "targets" },
    { folder: "layers", name: "layerKinds" },
    { folder: "calibrate", name: "statistics", methods: "calibrate/statistics" },
  ];
  test.each(registries)("$name: each key is the file that exports the entry", async (registry) => {
    const { folder, name, methods = folder } = registry;
    const index = await load(`src/${folder}/index.ts`);
    const entries = Object.entries(index[name] as Record<string, unknown>);
    expect(entries.length).toBeGreaterThan(0);
    for (const [key, entry] of entries) {
      const file = `src/${methods}/${fileName(key)}.ts`;
      expect(existsSync(join(root, file)), `${file} for ${name}.${key}`).toBe(true);
      expect(Object.values(await load(file)), `exports of ${file}`).toContain(entry);
    }
  });
});

describe("package", () => {
  const imported = new Set(imports.filter(({ isPackage }) => isPackage).map((one) => one.target));

  test.each(Object.keys(manifest.dependencies))("%s is imported in src", (name) => {
    expect([...imported]).toContain(name);
  });

  test.each(Object.keys(manifest.dependencies))("%s has its reason in the README", (name) => {
    const row = read("README.md")
      .split("\n")
      .find((line) => line.startsWith(`| \`${name}\` |`));
    expect(row?.split("|")[2]?.trim().length ?? 0).toBeGreaterThan(10);
  });

  test("everything imported in src is a dependency, not a development dependency", () => {
    expect([...imported].sort()).toEqual(Object.keys(manifest.dependencies).sort());
  });

  test("the lock file and .npmrc name no host", () => {
    const lock = JSON.parse(read("package-lock.json")) as {
      packages: Record<string, { resolved?: string }>;
    };
    expect(Object.entries(lock.packages).filter(([, { resolved }]) => resolved)).toEqual([]);
    expect(read(".npmrc")).not.toMatch(/https?:|registry\s*=|_auth|proxy/);
  });
});

test("no file names a folder of the machine it was written on", () => {
  // Put together here, so that this file does not match itself.
  const folders = ["work", "root", "home"].map((name) => `/${name}/`);
  const pattern = new RegExp(`(^|[\\s"'\`(=:])(${folders.join("|")})`, "m");
  const binary = new Set([".onnx", ".npy", ".png"]);
  const files = projectFiles().filter((file) => !binary.has(extname(file)));
  expect(files.length).toBeGreaterThan(100);
  expect(files.filter((file) => pattern.test(read(file)))).toEqual([]);
});

/** The table whose first row begins with "folder | may import". */
function parseRules(markdown: string): Map<string, ImportRule> {
  const lines = markdown.split("\n");
  const start = lines.findIndex((line) => line.startsWith("| folder | may import |"));
  const end = lines.findIndex((line, at) => at > start && !line.startsWith("|"));
  return new Map(
    lines.slice(start + 2, end).map((line) => {
      const [folder, own, packages] = line.split("|").slice(1, 4);
      return [names(folder)[0], toRule(names(folder)[0], own.trim(), names(packages))];
    }),
  );
}

function toRule(folder: string, own: string, packages: readonly string[]): ImportRule {
  const listed = names(own);
  if (own === "nothing") return { folder, packages, allows: () => false };
  if (own.startsWith("everything but ")) {
    return { folder, packages, allows: (other) => !listed.includes(other) };
  }
  expect(listed.length, `the import rule of ${folder}`).toBeGreaterThan(0);
  return { folder, packages, allows: (other) => listed.includes(other) };
}

/** The words in code quotes. */
function names(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]);
}

function packagesOf(folder: string): readonly string[] {
  return rules.get(folder)?.packages ?? [];
}

function importsOf(file: string): Import[] {
  const folder = file.startsWith("src/") ? file.split("/")[1] : "benchmarks";
  return specifiers(read(file)).flatMap((specifier): Import[] => {
    if (specifier.startsWith("node:") || builtinModules.includes(specifier)) return [];
    if (!specifier.startsWith(".")) {
      const [scope, name] = specifier.split("/");
      const target = specifier.startsWith("@") ? `${scope}/${name}` : scope;
      return [{ file, folder, target, isPackage: true }];
    }
    const [top, part] = relative(root, join(root, dirname(file), specifier)).split("/");
    return [{ file, folder, target: top === "src" ? part : top, isPackage: false }];
  });
}

function specifiers(text: string): string[] {
  return ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName);
}

function sourceFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true })
    .map((name) => join(folder, String(name)))
    .filter((file) => /\.(ts|js|mjs)$/.test(file) && statSync(join(root, file)).isFile());
}

async function load(file: string): Promise<Record<string, unknown>> {
  return (await import(pathToFileURL(join(root, file)).href)) as Record<string, unknown>;
}

/** Keys are names of methods (kebab-case), statistics (camelCase) or operators (MatMul). */
function fileName(key: string): string {
  const words = key.replace(/([a-z])([A-Z])/g, "$1-$2").toLowerCase();
  return words === "mat-mul" ? "matmul" : words;
}

/** Files under version control and new ones that are not ignored; outside a repository, the project's own folders. */
function projectFiles(): string[] {
  if (existsSync(join(root, ".git"))) {
    const listed = execFileSync("git", ["ls-files", "-co", "--exclude-standard"], { cwd: root });
    const files = listed.toString().trim().split("\n");
    return files.filter((file) => existsSync(join(root, file)));
  }
  return ["src", "test", "benchmarks", "calibration"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true })
      .map((name) => join(folder, String(name)))
      .filter((file) => statSync(join(root, file)).isFile()),
  );
}
