/**
 * How much of a model may be open at once. Measured on ONNX Runtime 1.30: while a session opens, its weights exist about
 * four times (message, parsed message, tensors, packed for the product); a packed model that unpacks its weights in
 * every run takes as much then, and about one float copy when it is open.
 */

/** Of open weights, where the caller says nothing. */
export const defaultMemoryLimitBytes = 2 ** 29;

/** Of values between segments, in memory; the rest lies in files. */
export const keptLimitBytes = (memoryLimitBytes: number): number => memoryLimitBytes / 2;

/** Copies of a segment's float32 weights in a worker that opens or runs it; large ones, which go through files, take fewer. */
const busyCopies = 4;
/** Copies for each further model that is open. */
const idleCopies = 1;
/** Where even the smallest arrangement, two models on one worker, exceeds the limit, it is used nevertheless. */
export const leastCopies = busyCopies + 2 * idleCopies;

/** Where to cut must not depend on the number of workers, or results would in their last bits. */
const assumedWorkers = 2;

/** Bytes of float32 weights that a segment may read, so that two models of it fit on two workers. */
export const segmentBytes = (memoryLimitBytes: number): number =>
  memoryLimitBytes / (assumedWorkers * leastCopies);

/** Workers that can hold some models of a segment at once; at least 1. */
export function workersFor(
  bytes: number,
  memoryLimitBytes: number,
  workers: number,
  models = 2,
): number {
  const each = (busyCopies + models * idleCopies) * bytes;
  return Math.max(1, Math.min(workers, Math.floor(memoryLimitBytes / each)));
}

/**
 * Threads of each session where a segment is too large for all workers to run it. ONNX Runtime divides its products
 * between threads by rows and columns; tests compare the results of one, two and three threads bit by bit.
 */
export const threadsFor = (own: number, workers: number): number => Math.floor(workers / own);

/** Models of a segment that each of these workers can hold; at least 2. */
export function modelsFor(bytes: number, memoryLimitBytes: number, workers: number): number {
  const each = Math.floor(memoryLimitBytes / (workers * Math.max(1, bytes) * idleCopies));
  return Math.max(2, each - busyCopies);
}
