/**
 * Runs ONNX Runtime away from the main thread, because its create and run block the thread that calls them:
 * progress, Ctrl-C and abort signals stay alive. One worker holds many sessions and answers requests in order.
 * Plain JavaScript so that the same file runs from the sources and from the build.
 */
import { MessageChannel, parentPort } from "node:worker_threads";
import { InferenceSession, Tensor } from "onnxruntime-node";

// Where engines have Float16Array, onnxruntime-common wraps float16 feeds in it, which the native addon of 1.30 takes for
// an empty array. It looks for the constructor at its first tensor; this thread has no other use for it.
Reflect.deleteProperty(globalThis, "Float16Array");

/** @type {Map<number, InferenceSession>} */
const sessions = new Map();

/**
 * @typedef {{ dtype: string, shape: readonly number[], data: any }} FeedTensor
 * @typedef {{
 *   session: number,
 *   feeds: Record<string, FeedTensor>,
 *   fetch: string[],
 *   links: { input: string, run: number, output: string }[],
 * }} Run
 *
 * @param {{ kind: "open", session: number, model: Uint8Array | string, options: object }
 *   | { kind: "run", runs: Run[] }
 *   | { kind: "release", session: number }} request
 */
async function answer(request) {
  if (request.kind === "open") {
    // The two overloads of `create` take the same arguments.
    const session = await InferenceSession.create(
      /** @type {any} */ (request.model),
      request.options,
    );
    sessions.set(request.session, session);
    return { inputNames: session.inputNames, outputNames: session.outputNames };
  }
  if (request.kind === "release") {
    const session = sessions.get(request.session);
    sessions.delete(request.session);
    await session?.release();
    return undefined;
  }
  return runAll(request.runs);
}

/**
 * Runs sessions one after the other; what links name goes from run to run as it is.
 *
 * @param {Run[]} runs
 */
async function runAll(runs) {
  /** @type {Record<string, Tensor>[]} */
  const outputs = [];
  for (const [index, { session: id, feeds, fetch, links }] of runs.entries()) {
    const session = sessions.get(id);
    if (!session) throw new Error("the session was released");
    /** @type {Record<string, Tensor>} */
    const inputs = {};
    for (const [name, { dtype, shape, data }] of Object.entries(feeds)) {
      inputs[name] = new Tensor(/** @type {any} */ (dtype), data, shape);
    }
    for (const { input, run, output } of links) inputs[input] = outputs[run][output];
    const linked = runs.flatMap((run) =>
      run.links.flatMap((link) => (link.run === index ? [link.output] : [])),
    );
    outputs.push(await session.run(inputs, [...new Set([...fetch, ...linked])]));
  }
  const results = runs.map(({ fetch }, index) =>
    Object.fromEntries(
      fetch.map((name) => {
        const tensor = outputs[index][name];
        return [
          name,
          { dtype: tensor.type, shape: [...tensor.dims], data: bitPatterns(tensor.data) },
        ];
      }),
    ),
  );
  const passedOn = outputs.flatMap((tensors, index) =>
    Object.entries(tensors).flatMap(([name, { data }]) =>
      runs[index].fetch.includes(name) ? [] : /** @type {any} */ (data).buffer,
    ),
  );
  free(passedOn);
  return results;
}

/**
 * Gives memory back at once: large logits would otherwise wait for a garbage collection.
 *
 * @param {ArrayBuffer[]} buffers
 */
function free(buffers) {
  if (buffers.length === 0) return;
  const { port1, port2 } = new MessageChannel();
  // What a closed port was sent is gone.
  port1.postMessage(undefined, buffers);
  port1.close();
  port2.close();
}

/**
 * Newer engines hand float16 values over as Float16Array; feeds are bit patterns everywhere.
 *
 * @param {any} data
 */
function bitPatterns(data) {
  return data.constructor.name === "Float16Array"
    ? new Uint16Array(data.buffer, data.byteOffset, data.length)
    : data;
}

/**
 * Results are moved to the main thread: copies would wait here for a garbage collection, which small heaps make rarely.
 *
 * @param {Record<string, { data: any }>[]} results
 * @returns {ArrayBuffer[]}
 */
function buffersOf(results) {
  const arrays = results.flatMap(Object.values).map(({ data }) => data);
  return [
    ...new Set(arrays.filter(ArrayBuffer.isView).map(({ buffer }) => /** @type {any} */ (buffer))),
  ];
}

/** @param {{ id: number, request: any }} message */
async function reply({ id, request }) {
  try {
    const result = await answer(request);
    parentPort?.postMessage({ id, result }, Array.isArray(result) ? buffersOf(result) : []);
  } catch (error) {
    parentPort?.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
}

// ONNX Runtime starts a run one turn of the event loop later: a release that overtook it would free its session.
let last = Promise.resolve();
parentPort?.on("message", (message) => {
  last = last.then(() => (message === "end" ? parentPort?.close() : reply(message)));
});
