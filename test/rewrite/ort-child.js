/**
 * Runs models in one ONNX Runtime package, in a process of its own: two versions cannot be loaded side by side.
 * Arguments: the package's entry file, its execution provider, and a folder with `jobs.json`; writes `results.json`.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [entry, provider, folder] = process.argv.slice(2);
const loaded = await import(pathToFileURL(entry).href);
const { InferenceSession, Tensor, env } = loaded.InferenceSession ? loaded : loaded.default;
env.wasm.numThreads = 1;

/** @param {{ dtype: string, shape: number[], base64: string }} tensor */
function toTensor({ dtype, shape, base64 }) {
  const bytes = Uint8Array.from(Buffer.from(base64, "base64"));
  const arrays = { float32: Float32Array, int32: Int32Array, int64: BigInt64Array };
  const data = new arrays[/** @type {keyof typeof arrays} */ (dtype)](bytes.buffer);
  return new Tensor(dtype, data, shape);
}

/** @param {{ model: string, optimize: "all" | "none", feeds: Record<string, any>, writes?: string }} job */
async function run({ model, optimize, feeds, writes }) {
  const session = await InferenceSession.create(
    new Uint8Array(await readFile(join(folder, model))),
    {
      executionProviders: [provider],
      graphOptimizationLevel: optimize === "all" ? "all" : "disabled",
      intraOpNumThreads: 1,
      logSeverityLevel: 4,
      ...(writes && { optimizedModelFilePath: join(folder, writes) }),
    },
  );
  const tensors = Object.entries(feeds).map(([name, tensor]) => [name, toTensor(tensor)]);
  const outputs = await session.run(Object.fromEntries(tensors));
  const encoded = Object.entries(outputs).map(([name, { data }]) => [
    name,
    Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64"),
  ]);
  await session.release();
  return { outputs: Object.fromEntries(encoded) };
}

const results = [];
for (const job of JSON.parse(await readFile(join(folder, "jobs.json"), "utf8"))) {
  results.push(
    await run(job).catch((error) => ({
      error: error instanceof Error ? error.message : `${error}`,
    })),
  );
}
await writeFile(join(folder, "results.json"), JSON.stringify(results));
