/**
 * The README's tables are those of the registries; its example and its plug-ins compile.
 * `npm run docs:readme` rewrites the tables, also those of src/runtime/README.md.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";
import { integerBits, parseFormat, withScaleType } from "../src/core/format.ts";
import {
  allocators,
  corrections,
  findLayers,
  layerKinds,
  quantizers,
  scorers,
  type Target,
  targets,
} from "../src/index.ts";
import { operators as runtimeOperators } from "../src/runtime/operators/index.ts";
import { graph } from "./support/graph-builder.ts";
import { markdownTable, replaceSection, section } from "./support/markdown.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const readme = readFileSync(join(root, "README.md"), "utf8");
const example = /```ts\n([\s\S]*?)```/.exec(section(readme, "example"))?.[1] ?? "";

type Rows = Readonly<Record<string, { readonly summary: string; readonly source: string }>>;

const written = (path: string, sections: Readonly<Record<string, string>>) =>
  Object.entries(sections).reduce(
    (text, [name, content]) => replaceSection(text, name, content),
    readFileSync(join(root, path), "utf8"),
  );

test("the tables are those of the registries", async () => {
  const methods = [
    methodTable("Scorers", "--scorer", "measured-kl", scorers),
    methodTable("Allocators", "--allocator", "knapsack", allocators),
    methodTable("Quantizers", "--quantizer", "gptq", quantizers),
    methodTable("Corrections", "--correction", "auto", corrections),
    methodTable("Targets", "--target", "portable", targets),
  ].join("\n\n");
  const operators = markdownTable(
    ["operator", "what is quantized"],
    Object.entries(layerKinds).map(([name, { summary }]) => [`\`${name}\``, summary]),
  );
  await expect(
    written("README.md", { methods, operators, widths: widthTable() }),
  ).toMatchFileSnapshot(join(root, "README.md"));
});

test("the tables of operators that sessions run are those of the registry", async () => {
  const path = "src/runtime/README.md";
  await expect(written(path, { runtime: runtimeTable() })).toMatchFileSnapshot(join(root, path));
});

// `test/package/install.test.ts` runs the example.
test("the library example has at most ten lines of code; it and the plug-ins are whole files that compile", () => {
  expect(example.split("\n").filter((line) => line !== "").length).toBeLessThanOrEqual(10);
  const files = [
    ...section(readme, "add").matchAll(/```ts\n\/\/ (\S+\.ts);[^\n]*\n([\s\S]*?)```/g),
  ];
  const folders = files.map(([, path]) => path.split("/").slice(0, 2).join("/"));
  expect(folders).toEqual([
    ...["src/score", "src/allocate", "src/quantize", "src/correct", "src/rewrite", "native/float"],
  ]);
  const misspelt = "test/misspelt.ts";
  const errors = compileErrors({
    ...Object.fromEntries(files.map(([, path, text]) => [path, text])),
    "test/example.ts": example,
    [misspelt]: example.replace("budget:", "budgets:"),
  });
  expect(errors.filter((error) => !error.startsWith(misspelt))).toEqual([]);
  expect(errors.filter((error) => error.startsWith(misspelt))).not.toEqual([]);
});

function methodTable(title: string, option: string, byDefault: string, registry: Rows): string {
  const rows = Object.entries(registry).map(([name, { summary, source }]) => [
    name === byDefault ? `**\`${name}\`**` : `\`${name}\``,
    summary,
    source,
  ]);
  return `### ${title} (\`${option}\`)\n\n${markdownTable(["name", "what it does", "source"], rows)}`;
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
  return markdownTable(["domain", "runs", "operators"], [...rows.filter((row) => row[2]), packed]);
}

/** What each target makes of a MatMul in blocks of 32, by width. */
function widthTable(): string {
  const model = graph({ opset: 21 })
    .input("x", "float32", [1, 64])
    .output("y", "float32", [1, 64])
    .initializer("w", [64, 64], new Float32Array(64 * 64))
    .node("MatMul", ["x", "w"], ["y"])
    .model();
  const [layer] = findLayers(model.graph).layers;
  const formats = [...integerBits.map((bits) => `int${bits}-b32`), "float16"];
  const rows = formats.map((id) => {
    const cells = Object.values(targets).map((target: Target) => {
      const form = target.form(layer, withScaleType(parseFormat(id), target.scaleType), 21);
      return typeof form === "string" ? `— ${form}` : `\`${form.name}\``;
    });
    return [id.replace(/\D+(\d+).*/, "$1"), ...cells];
  });
  return markdownTable(["bits", ...Object.keys(targets).map((name) => `\`${name}\``)], rows);
}

/** Messages of the type checker about modules that do not exist, by their paths. */
function compileErrors(texts: Readonly<Record<string, string>>): string[] {
  const config = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config.config, ts.sys, root);
  const sources = new Map(
    Object.entries(texts).map(([path, text]) => {
      const file = join(root, path);
      return [file, ts.createSourceFile(file, text, ts.ScriptTarget.ES2023, true)];
    }),
  );
  const host = ts.createCompilerHost({ ...options, noEmit: true });
  const original = host.getSourceFile.bind(host);
  host.getSourceFile = (name, languageVersion) =>
    sources.get(name) ?? original(name, languageVersion);
  const program = ts.createProgram([...sources.keys()], { ...options, noEmit: true }, host);
  return Object.keys(texts).flatMap((file) => {
    const source = program.getSourceFile(join(root, file));
    return [
      ...program.getSyntacticDiagnostics(source),
      ...program.getSemanticDiagnostics(source),
    ].map(({ messageText }) => `${file}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`);
  });
}
