/**
 * Serves the built library to a page: `/src` and `/native` are those of `dist`, so a page script imports what users get.
 * `/test/browser/x.page.js` is compiled from `x.page.ts` when asked for. Only this machine can connect.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const root = fileURLToPath(new URL("../..", import.meta.url));

export interface ServerOptions {
  /** Sends the headers that make the page cross-origin isolated, so that it has SharedArrayBuffer; default true. */
  readonly isolated?: boolean;
  /** Further content, by path: "/files/model.onnx". */
  readonly files?: Readonly<Record<string, Uint8Array>>;
}

export interface Server {
  /** "http://127.0.0.1:…", without a slash at the end. */
  readonly origin: string;
  close(): Promise<void>;
}

const types: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".json": "application/json",
  ".txt": "text/plain",
  ".wasm": "application/wasm",
};

const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/** What a strict site sends: no script but the site's own, nothing compiled from text, WebAssembly allowed. */
const policy = "script-src 'self' 'wasm-unsafe-eval'";

export async function serve({ isolated = true, files = {} }: ServerOptions): Promise<Server> {
  const headers = { "Content-Security-Policy": policy, ...(isolated ? isolation : {}) };
  const answer = (path: string, response: ServerResponse): void => {
    const content = Object.hasOwn(files, path) ? files[path] : contentOf(path);
    const type = types[path === "/" ? ".html" : extname(path)] ?? "application/octet-stream";
    if (content === undefined) response.writeHead(404, headers).end(`There is no ${path}.`);
    else
      response
        .writeHead(200, { ...headers, "Content-Type": `${type}; charset=utf-8` })
        .end(content);
  };
  const server = createServer(({ url = "/" }, response) => {
    // A parsed path holds no ".." any more, encoded or not.
    answer(new URL(url, "http://localhost").pathname, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => (error ? reject(error) : resolve()));
        server.closeAllConnections();
      }),
  };
}

function contentOf(path: string): string | Uint8Array | undefined {
  if (path === "/") return "<!doctype html><title>bitloom</title>";
  if (path.startsWith("/src/") || path.startsWith("/native/")) return fileAt(join("dist", path));
  if (path.startsWith("/calibration/")) return fileAt(path);
  if (!/^\/test\/browser\/[\w./-]+\.page\.js$/.test(path)) return undefined;
  const source = fileAt(path.replace(/\.js$/, ".ts"));
  if (source === undefined) return undefined;
  return ts.transpileModule(source.toString(), {
    compilerOptions: {
      target: ts.ScriptTarget.ES2023,
      module: ts.ModuleKind.ESNext,
      rewriteRelativeImportExtensions: true,
      verbatimModuleSyntax: true,
    },
  }).outputText;
}

function fileAt(path: string): Buffer | undefined {
  const file = join(root, path);
  return existsSync(file) && statSync(file).isFile() ? readFileSync(file) : undefined;
}
