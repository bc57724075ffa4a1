/**
 * Node as a session sees it: memory can always be shared.
 */
import { availableParallelism } from "node:os";
import { startNodeThreads } from "./node-threads.ts";
import { type Platform, threadsFor } from "./platform.ts";

export const nodePlatform: Platform = {
  startThreads: startNodeThreads,
  noThreadsReason: undefined,
  defaultThreads: threadsFor(availableParallelism()),
};
