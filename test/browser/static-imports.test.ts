/**
 * What a browser loads must not need Node: walks the static imports of each browser entry. Unlike the test in Chromium
 * it names the chain of imports that is at fault, and it needs no browser.
 */
import { existsSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import ts from "typescript";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const entries = ["src/onnx/portable.ts", "native/index.ts", "src/runtime/browser.ts"];
const present = entries.filter((entry) => existsSync(join(root, entry)));

/** Names that only Node defines. */
const nodeGlobals = new Set(["process", "Buffer", "require", "__dirname", "__filename", "global"]);

interface Module {
  /** Specifiers of imports that remain after compilation, but for `import()`, which a page may never reach. */
  readonly imports: readonly string[];
  /** Node's globals that the code reads. */
  readonly globals: readonly string[];
}

describe("what a browser loads", () => {
  test.each(present)("%s imports no package and nothing of Node", (entry) => {
    expect(problemsOf(entry)).toEqual([]);
  });

  test("the walk sees every kind of import, but no types", () => {
    const text = [
      'import a from "./a.ts";',
      'import { type B } from "./b.ts";',
      'import "./c.ts";',
      'export * from "./d.ts";',
      'export { e } from "./e.ts";',
      'import type { F } from "./f.ts";',
      'export type * from "./g.ts";',
      'const h = await import("./h.ts");',
      "new Map<NodeJS.Process, Buffer>([[process, h.process.Buffer({ global: a })]]);",
    ].join("\n");
    expect(readModule("x.ts", text)).toEqual({
      imports: ["./a.ts", "./b.ts", "./c.ts", "./d.ts", "./e.ts"],
      globals: ["process"],
    });
    expect(problemsOf("src/onnx/index.ts").join("\n")).toMatch(
      /src\/onnx\/index\.ts → src\/onnx\/open\.ts → .*: imports "node:fs"/,
    );
  });
});

/** Each with the chain of modules that leads to it. */
function problemsOf(entry: string): string[] {
  const chains = new Map([[entry, entry]]);
  const problems: string[] = [];
  for (const [file, chain] of chains) {
    const { imports, globals } = readModule(file, readFileSync(join(root, file), "utf8"));
    problems.push(...globals.map((name) => `${chain}: reads ${name}`));
    for (const specifier of imports) {
      if (!specifier.startsWith(".")) {
        problems.push(`${chain}: imports "${specifier}"`);
        continue;
      }
      const url = new URL(specifier, pathToFileURL(join(root, file)));
      const target = relative(root, fileURLToPath(url));
      if (!chains.has(target)) chains.set(target, `${chain} → ${target}`);
    }
  }
  return problems;
}

function readModule(file: string, text: string): Module {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ES2023, true);
  const imports: string[] = [];
  const globals = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node)) return;
    if (ts.isImportDeclaration(node) && !isTypeOnly(node.importClause)) {
      imports.push((node.moduleSpecifier as ts.StringLiteral).text);
    } else if (ts.isExportDeclaration(node) && node.moduleSpecifier && !node.isTypeOnly) {
      imports.push((node.moduleSpecifier as ts.StringLiteral).text);
    } else if (ts.isIdentifier(node) && nodeGlobals.has(node.text) && isRead(node)) {
      globals.add(node.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return { imports, globals: [...globals] };
}

function isTypeOnly(clause: ts.ImportClause | undefined): boolean {
  return clause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
}

/** Not the name of a member or of something that the module itself declares. */
function isRead(node: ts.Identifier): boolean {
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node;
  if (ts.isPropertyAssignment(parent)) return parent.initializer === node;
  return !("name" in parent && parent.name === node);
}
