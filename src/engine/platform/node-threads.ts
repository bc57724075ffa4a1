/**
 * Threads under Node: workers of worker_threads that never keep the process alive.
 */
import { Worker } from "node:worker_threads";
import { createStartThreads, type Thread } from "./thread-pool.ts";

/**
 * Starts one thread.
 *
 * @param program - the file that it runs; it answers its first message with "ready".
 */
export function spawnNodeThread(
  program: URL = new URL("./node-thread.js", import.meta.url),
): Thread {
  // The process's own flags (--input-type with -e, loaders) may not fit a worker, which needs none.
  const worker = new Worker(program, { execArgv: [] });
  worker.unref();
  const ended = new Promise<string>((resolve) => {
    worker.on("error", (error) => resolve(`it failed: ${error.message}`));
    worker.on("exit", (code) => resolve(`it ended with exit code ${code}`));
  });
  return {
    ended,
    start(message) {
      return new Promise((resolve) => {
        worker.once("message", () => {
          worker.unref();
          resolve();
        });
        worker.ref();
        worker.postMessage(message);
      });
    },
    async end() {
      worker.ref();
      await worker.terminate();
    },
  };
}

export const startNodeThreads = createStartThreads(() => spawnNodeThread());
