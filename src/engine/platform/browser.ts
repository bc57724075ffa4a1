/**
 * A browser as a session sees it: memory is shared only on pages that are cross-origin isolated.
 */
import { startBrowserThreads } from "./browser-threads.ts";
import { type Platform, threadsFor } from "./platform.ts";

/** Looks at the page, or at the worker, that it is called in. */
export function browserPlatform(): Platform {
  const noThreadsReason = whyNoThreads();
  return {
    startThreads: noThreadsReason === undefined ? startBrowserThreads : undefined,
    noThreadsReason,
    defaultThreads: noThreadsReason === undefined ? threadsFor(processors()) : 1,
  };
}

function whyNoThreads(): string | undefined {
  if (
    Reflect.get(globalThis, "crossOriginIsolated") !== true ||
    !("SharedArrayBuffer" in globalThis)
  ) {
    return "The page is not cross-origin isolated, so memory cannot be shared with threads. Serve it with the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp.";
  }
  if (!("Worker" in globalThis))
    return "There are no workers in this scope. Open the session in the page.";
  return undefined;
}

function processors(): number {
  const navigator = Reflect.get(globalThis, "navigator") as
    | { readonly hardwareConcurrency?: number }
    | undefined;
  return navigator?.hardwareConcurrency ?? 1;
}
