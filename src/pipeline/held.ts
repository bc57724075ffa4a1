/**
 * What a run holds from stage to stage, statistics and codes: some of it in memory, the rest in files.
 */
import { type ArrayStore, createArrayStore } from "../calibrate/index.ts";
import { defaultMemoryLimitBytes } from "../runtime/index.ts";

/** Bytes in memory. They are read once per layer and plan, so that a file, which the system caches, costs little. */
export const heldLimitBytes = (memoryLimitBytes: number): number => memoryLimitBytes / 4;

/** The store of a run; whoever opens it closes it. */
export const openHeld = (memoryLimitBytes: number = defaultMemoryLimitBytes): ArrayStore =>
  createArrayStore(heldLimitBytes(memoryLimitBytes));
