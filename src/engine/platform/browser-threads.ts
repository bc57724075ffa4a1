/**
 * Threads in a browser: module workers, loaded from the file next to this one.
 */
import { createStartThreads, type Thread } from "./thread-pool.ts";

/** The part of a browser's Worker that is used here. */
declare class Worker {
  constructor(address: URL, options: { readonly type: "module" });
  onmessage: (() => void) | null;
  onerror: ((event: { readonly message?: string; preventDefault(): void }) => void) | null;
  postMessage(message: unknown): void;
  terminate(): void;
}

/** Starts one thread. */
export function spawnBrowserThread(): Thread {
  // Bundlers recognize a worker by exactly this expression.
  const worker = new Worker(new URL("./browser-thread.js", import.meta.url), { type: "module" });
  const ended = new Promise<string>((resolve) => {
    worker.onerror = (event) => {
      event.preventDefault();
      worker.terminate();
      // A script that does not load, or may not, has no message.
      resolve(
        event.message ? `it failed: ${event.message}` : "its script browser-thread.js did not load",
      );
    };
  });
  return {
    ended,
    start(message) {
      return new Promise((resolve) => {
        worker.onmessage = () => resolve();
        worker.postMessage(message);
      });
    },
    // Nothing tells when a terminated worker has stopped; it does so at its next turn of a loop.
    async end() {
      worker.terminate();
    },
  };
}

export const startBrowserThreads = createStartThreads(spawnBrowserThread);
