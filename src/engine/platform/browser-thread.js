/**
 * A thread of a session in a browser: gets its kernels in one message and serves until it is terminated.
 * A file of its own, loaded by its address: strict pages forbid workers made from text.
 */
import { serve } from "./thread-protocol.js";

/**
 * The part of a worker's global scope that is used here.
 *
 * @typedef {object} Scope
 * @property {(message: string) => void} postMessage
 * @property {(type: "message", listener: (event: { data: ThreadStart }) => void) => void} addEventListener
 * @typedef {import("./thread-protocol.js").ThreadStart} ThreadStart
 */
const scope = /** @type {Scope} */ (/** @type {unknown} */ (globalThis));

scope.addEventListener("message", ({ data }) => serve(data, () => scope.postMessage("ready")));
