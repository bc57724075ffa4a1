/**
 * The README's tables are those of the registries, and its example compiles and runs.
 * `npm run docs:readme` rewrites the tables.
 */
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { allocators, corrections, layerKinds, quantizers, scorers, targets } from "../src/index.ts";
import { operators as runtimeOperators } from "../src/runtime/operators/index.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const readme = readFileSync(join(root, "README.md"), "utf8");
const example = /```ts\n([\s\S]*?)```/.exec(section("example"))?.[1] ?? "";

type Rows = Readonly<Record<string, { readonly summary: string; readonly source: string }>>;

test("the tables are those of the registries", async () => {
  const methods = [
    methodTable("Scorers", "--scorer", "measured-kl", scorers),
    methodTable("Allocators", "--allocator", "knapsack", allocators),
    methodTable("Quantizers", "--quantizer", "gptq", quantizers),
    methodTable("Corrections", "--correction", "auto", corrections),
    methodTable("Targets", "--target", "portable", targets),
  ].join("\n\n");
  const operators = table(
    ["operator", "what is quantized"],
    Object.entries(layerKinds).map(([name, { summary }]) => [`\`${name}\``, summary]),
  );
  const sections = { methods, operators, runtime: runtimeTable() };
  const current = Object.entries(sections).reduce(
    (text, [name, content]) => replaceSection(text, name, content),
    readme,
  );
  await expect(current).toMatchFileSnapshot(join(root, "README.md"));
});

describe("the library example", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bitloom-readme-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("has at most twelve lines and compiles", () => {
    expect(example.trim().split("\n").length).toBeLessThanOrEqual(12);
    expect(compileErrors(example)).toEqual([]);
    expect(compileErrors(example.replace("budget:", "budgets:"))).not.toEqual([]);
  });

  test("runs and writes what it says", () => {
    const built = new URL("../dist/src/index.js", import.meta.url);
    expect(existsSync(built), "dist/src/index.js: npm run build").toBe(true);
    const data = join(root, "calibration", "tiny-lm");
    cpSync(join(data, "model.onnx"), join(folder, "model.onnx"));
    cpSync(join(data, "tokenizer.json"), join(folder, "tokenizer.json"));
    // A short text keeps the run short: the example leaves every other choice at its default.
    const text = readFileSync(join(data, "calibration.txt"), "utf8").slice(0, 6_000);
    writeFileSync(join(folder, "calibration.txt"), text);
    const code = ts.transpileModule(example.replace('"bitloom"', JSON.stringify(built.href)), {
      compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 },
    }).outputText;
    writeFileSync(join(folder, "example.mjs"), code);
    const printed = execFileSync(process.execPath, ["example.mjs"], { cwd: folder }).toString();
    const [bitsPerWeight, bytes] = printed.split(" ").map(Number);
    expect(bitsPerWeight).toBeGreaterThan(3.3);
    expect(bitsPerWeight).toBeLessThanOrEqual(3.5);
    expect(bytes).toBe(statSync(join(folder, "model.q.onnx")).size);
    expect(existsSync(join(folder, "plan.json"))).toBe(true);
  });
});

function methodTable(title: string, option: string, byDefault: string, registry: Rows): string {
  const rows = Object.entries(registry).map(([name, { summary, source }]) => [
    name === byDefault ? `**\`${name}\`**` : `\`${name}\``,
    summary,
    source,
  ]);
  return `### ${title} (\`${option}\`)\n\n${table(["name", "what it does", "source"], rows)}`;
}

/** Fusions turn these into operators of their own, which run on kernels. */
const fused = ["Attention", "GatherBlockQuantized", "MatMulNBits"].map(
  (name) => `com.microsoft::${name}`,
);

/** What a session runs itself, by domain and by how; the operators that only fusions make are left out. */
function runtimeTable(): string {
  const ways = ["on kernels", "in JavaScript", "at no cost: only the shape changes"] as const;
  const wayOf = (key: string): (typeof ways)[number] => {
    if (runtimeOperators[key].alias) return ways[2];
    return runtimeOperators[key].compile || fused.includes(key) ? ways[0] : ways[1];
  };
  const rows = ["", "com.microsoft::"].flatMap((prefix) =>
    ways.map((way) => {
      const names = Object.keys(runtimeOperators)
        .filter((key) => key.replace(/\w+$/, "") === prefix && wayOf(key) === way)
        .map((key) => key.slice(prefix.length))
        .sort();
      const domain = prefix === "" ? "ONNX" : "com.microsoft";
      return [domain, way, names.map((name) => `\`${name}\``).join(", ")];
    }),
  );
  const packed = ["bitloom", ways[0], "`MatMulPacked…`, `GatherPacked…`"];
  return table(["domain", "runs", "operators"], [...rows.filter((row) => row[2]), packed]);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

function section(name: string): string {
  const found = new RegExp(`<!-- ${name}:begin -->\\n([\\s\\S]*?)<!-- ${name}:end -->`).exec(
    readme,
  );
  if (!found) throw new Error(`README.md has no section ${name}`);
  return found[1];
}

function replaceSection(text: string, name: string, content: string): string {
  const [begin, end] = [`<!-- ${name}:begin -->\n`, `<!-- ${name}:end -->`];
  const from = text.indexOf(begin) + begin.length;
  return `${text.slice(0, from)}\n${content}\n\n${text.slice(text.indexOf(end))}`;
}

/** Messages of the type checker about a module that imports the package by its own name. */
function compileErrors(text: string): string[] {
  const config = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config.config, ts.sys, root);
  const file = join(root, "test", "readme-example.ts");
  const host = ts.createCompilerHost({ ...options, noEmit: true });
  const original = host.getSourceFile.bind(host);
  host.getSourceFile = (name, languageVersion) =>
    name === file
      ? ts.createSourceFile(name, text, languageVersion, true)
      : original(name, languageVersion);
  const program = ts.createProgram([file], { ...options, noEmit: true }, host);
  const source = program.getSourceFile(file);
  return [
    ...program.getSyntacticDiagnostics(source),
    ...program.getSemanticDiagnostics(source),
  ].map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
}
