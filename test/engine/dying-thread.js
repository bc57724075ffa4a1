/** What a thread runs instead of the real program in the tests of threads that die. */
import { parentPort } from "node:worker_threads";
import { controlOf, work } from "../../src/engine/platform/thread-protocol.js";

/**
 * @typedef {import("../../src/engine/platform/thread-protocol.js").ThreadStart} ThreadStart
 * @typedef {import("../../native/index.ts").KernelFunction} KernelFunction
 */

/**
 * @param {string} death - how it dies: "exits" or "hangs" (in the middle of its items), "exits at start", "throws at
 *   start".
 */
export function live(death) {
  if (death === "throws at start") throw new Error("out of luck");
  if (death === "exits at start") process.exit(3);
  const port = parentPort;
  port?.once("message", (/** @type {ThreadStart} */ start) => {
    const { memory, module, names, control, thread, scratch } = start;
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    const kernels = names.map((name) =>
      dying(/** @type {KernelFunction} */ (exports[name]), death === "exits"),
    );
    port.postMessage("ready");
    work(controlOf(memory, control), thread, kernels, scratch);
  });
}

/**
 * @param {KernelFunction} kernel
 * @param {boolean} exits
 * @returns {KernelFunction}
 */
const dying = (kernel, exits) => (task, begin, end, scratch) => {
  kernel(task, begin, Math.floor((begin + end) / 2), scratch);
  if (exits) process.exit(3);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
};
