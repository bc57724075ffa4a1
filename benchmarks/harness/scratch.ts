/**
 * Temporary folders that do not outlive the process, however it ends: measured models are large.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Scratch {
  readonly path: string;
  /** Removes it before the process ends. */
  close(): void;
}

const open = new Set<string>();
let isWatching = false;

/** A new folder, removed when it is closed, when the process ends, and when it is interrupted. */
export function openScratch(): Scratch {
  watch();
  const path = mkdtempSync(join(tmpdir(), "bitloom-bench-"));
  open.add(path);
  return {
    path,
    close() {
      open.delete(path);
      remove(path);
    },
  };
}

function watch(): void {
  if (isWatching) return;
  isWatching = true;
  process.once("exit", () => open.forEach(remove));
  // By itself an interrupt ends the process without an exit event.
  process.once("SIGINT", () => process.exit(130));
}

const remove = (path: string) => rmSync(path, { recursive: true, force: true });
