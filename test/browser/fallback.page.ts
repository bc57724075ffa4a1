/** Runs in a page: a session whose nodes without kernels run on the onnxruntime-web that the page has. */
import { createSession, type OrtModule, onnxRuntimeFallback } from "../../src/runtime/browser.ts";

/** Numbers of the outputs, in the order of the graph. */
export interface FallbackFacts {
  readonly results: readonly (readonly number[])[];
  readonly notices: readonly string[];
  /** Sessions of onnxruntime-web. */
  readonly opened: number;
  readonly released: number;
}

interface Ort extends OrtModule {
  readonly env: { readonly wasm: { wasmPaths: string; numThreads: number } };
}

export async function run(folder: string): Promise<FallbackFacts> {
  const ort: Ort = await import(`${folder}/ort.wasm.min.mjs`);
  ort.env.wasm.wasmPaths = `${folder}/`;
  ort.env.wasm.numThreads = 1;
  let opened = 0;
  let released = 0;
  const counted: OrtModule = {
    Tensor: ort.Tensor,
    InferenceSession: {
      async create(model, options) {
        const session = await ort.InferenceSession.create(model, options);
        opened++;
        return {
          inputNames: session.inputNames,
          outputNames: session.outputNames,
          run: (feeds, fetches) => session.run(feeds, fetches),
          release() {
            released++;
            return session.release();
          },
        };
      },
    },
  };
  const notices: string[] = [];
  const session = await createSession("/files/model.onnx", {
    threads: 1,
    fallback: onnxRuntimeFallback(counted),
    onEvent: (event) => event.type === "notice" && notices.push(event.notice.message),
  });
  const results: number[][] = [];
  for (const shift of [0, 3]) {
    const outputs = await session.run(feeds(shift));
    for (const name of session.outputNames)
      results.push(Array.from(outputs[name].data as ArrayLike<number | bigint>, Number));
  }
  await session.release();
  return { results, notices, opened, released };
}

/** Of every input; another `shift` gives other numbers and other sizes. */
export function feeds(shift: number) {
  const count = 6 + shift;
  const ids = Array.from({ length: count }, (_, i) => BigInt((i * i) % 5));
  return {
    // The bits of 1, −2, 3 …: float16 has its exponent from bit 10 on.
    x: {
      type: "float16",
      dims: [count],
      data: Uint16Array.from({ length: count }, (_, i) => 0x3c00 + 64 * i + 0x8000 * (i % 2)),
    },
    ids: { type: "int64", dims: [count], data: BigInt64Array.from(ids) },
    table: {
      type: "float32",
      dims: [5, 2, 2],
      data: Float32Array.from({ length: 20 }, (_, i) => Math.cos(i + shift)),
    },
  } as const;
}
