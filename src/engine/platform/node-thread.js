/**
 * A thread of a session under Node: gets its kernels in one message and serves until it is terminated.
 * Plain JavaScript so that the same file runs from the sources and from the build.
 */
import { parentPort } from "node:worker_threads";
import { serve } from "./thread-protocol.js";

parentPort?.once("message", (start) => serve(start, () => parentPort?.postMessage("ready")));
