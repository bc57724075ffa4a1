/**
 * The ONNX Runtime builds that written models must run on, each in a process of its own.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Feeds } from "../../src/core/feeds.ts";
import { bytesOf } from "../../src/core/tensor.ts";

export interface OrtBuild {
  readonly name: string;
  readonly provider: "cpu" | "wasm";
  /** Entry file; undefined where the build is not installed. */
  readonly entry: string | undefined;
}

const require = createRequire(import.meta.url);
const oldFolder = process.env.BITLOOM_ORT_1243 ?? "";
const oldEntry = join(oldFolder, "node_modules/onnxruntime-node");

export const ortBuilds: readonly OrtBuild[] = [
  { name: "onnxruntime-node newest", provider: "cpu", entry: require.resolve("onnxruntime-node") },
  { name: "onnxruntime-web", provider: "wasm", entry: require.resolve("onnxruntime-web") },
  {
    name: "onnxruntime-node 1.24.3",
    provider: "cpu",
    entry: oldFolder !== "" && existsSync(oldEntry) ? require.resolve(oldEntry) : undefined,
  },
];

export interface OrtJob {
  readonly model: Uint8Array;
  readonly optimize: "all" | "none";
  /** float32, int32 and int64 only. */
  readonly feeds: Feeds;
  /** Also give back the model as ONNX Runtime optimised it. */
  readonly returnsOptimized?: boolean;
}

/** Results are float32. */
export type OrtResult =
  | { readonly outputs: ReadonlyMap<string, Float32Array>; readonly optimized?: Uint8Array }
  | { readonly error: string };

/** Runs the jobs one after the other in a new process. */
export async function runInProcess(
  { entry, provider }: OrtBuild,
  jobs: readonly OrtJob[],
): Promise<readonly OrtResult[]> {
  const folder = await mkdtemp(join(tmpdir(), "bitloom-ort-"));
  try {
    const described = jobs.map(async ({ model, optimize, feeds, returnsOptimized }, i) => {
      await writeFile(join(folder, `${i}.onnx`), model);
      const encoded = Object.entries(feeds).map(([name, { dtype, shape, data }]) => {
        const bytes = bytesOf(data as Float32Array);
        return [name, { dtype, shape, base64: Buffer.from(bytes).toString("base64") }];
      });
      const writes = returnsOptimized ? `${i}.optimized.onnx` : undefined;
      return { model: `${i}.onnx`, optimize, feeds: Object.fromEntries(encoded), writes };
    });
    await writeFile(join(folder, "jobs.json"), JSON.stringify(await Promise.all(described)));
    const script = fileURLToPath(new URL("./ort-child.js", import.meta.url));
    await promisify(execFile)(process.execPath, [script, entry ?? "", provider, folder], {
      maxBuffer: 1e8,
    });
    const results: readonly { outputs?: Record<string, string>; error?: string }[] = JSON.parse(
      await readFile(join(folder, "results.json"), "utf8"),
    );
    return await Promise.all(
      results.map(async ({ outputs, error }, i): Promise<OrtResult> => {
        if (!outputs) return { error: error ?? "no result" };
        const decoded = new Map(Object.entries(outputs).map(([n, text]) => [n, floats(text)]));
        if (!jobs[i].returnsOptimized) return { outputs: decoded };
        const optimized = new Uint8Array(await readFile(join(folder, `${i}.optimized.onnx`)));
        return { outputs: decoded, optimized };
      }),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function floats(base64: string): Float32Array {
  return new Float32Array(Uint8Array.from(Buffer.from(base64, "base64")).buffer);
}
