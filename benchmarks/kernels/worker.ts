/**
 * The second thread: waits for a call in shared memory, runs the upper half of its items.
 */
import { parentPort, workerData } from "node:worker_threads";
import type { KernelFunction } from "../../native/index.ts";
import { control, type WorkerStart } from "./control.ts";

const { module, memory, calls, scratch } = workerData as WorkerStart;
const { exports } = new WebAssembly.Instance(module, { env: { memory } });
const flags = new Int32Array(memory.buffer, 0, control.words);
const list = calls.map(({ name, task, items }) => ({
  run: exports[name] as KernelFunction,
  task,
  items,
}));
parentPort?.postMessage("ready");
for (let turn = 0; ; turn++) {
  for (let spin = 0; spin < control.spins && Atomics.load(flags, control.turn) === turn; spin++);
  while (Atomics.load(flags, control.turn) === turn) Atomics.wait(flags, control.turn, turn);
  const { run, task, items } = list[Atomics.load(flags, control.call)];
  run(task, Math.ceil(items / 2), items, scratch);
  Atomics.store(flags, control.done, turn + 1);
}
