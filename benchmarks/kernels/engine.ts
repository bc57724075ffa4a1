/**
 * Runs prepared kernel calls in one shared memory, on this thread or on two.
 */
import { Worker } from "node:worker_threads";
import {
  assembleKernels,
  type Fields,
  type Kernel,
  type KernelCall,
  type KernelFunction,
  taskBytes,
  writeTask,
} from "../../native/index.ts";
import { control, type PreparedCall } from "./control.ts";

const pageBytes = 65536;
const scratchBytes = 2 << 20;

export class Engine {
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array;
  readonly #calls: PreparedCall[] = [];
  readonly #scratch: number;
  readonly #flags: Int32Array;
  #next = 4 * control.words;
  #functions: Readonly<Record<string, unknown>> = {};
  #kernels = new Map<string, Kernel>();
  #worker: Worker | undefined;

  constructor(totalBytes: number) {
    const pages = Math.ceil(totalBytes / pageBytes);
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.bytes = new Uint8Array(this.memory.buffer);
    this.#flags = new Int32Array(this.memory.buffer, 0, control.words);
    this.#scratch = this.allocate(2 * scratchBytes);
  }

  allocate(bytes: number): number {
    const address = this.#next;
    this.#next = 64 * Math.ceil((address + bytes) / 64);
    if (this.#next > this.bytes.byteLength) throw new RangeError("benchmark memory is too small");
    return address;
  }

  floats(address: number, length: number): Float32Array {
    return new Float32Array(this.memory.buffer, address, length);
  }

  /** Returns the number of the call. */
  prepare<F extends Fields>({ kernel, values, items }: KernelCall<F>): number {
    const task = this.allocate(taskBytes(kernel));
    writeTask(new DataView(this.memory.buffer), task, kernel, values);
    if ((kernel.scratchBytes?.(values) ?? 0) > scratchBytes) throw new RangeError(kernel.name);
    this.#kernels.set(kernel.name, kernel as Kernel);
    this.#calls.push({ name: kernel.name, task, items });
    return this.#calls.length - 1;
  }

  /** Compiles what was prepared and starts the second thread. */
  async start(): Promise<void> {
    const module = new WebAssembly.Module(
      assembleKernels([...this.#kernels.values()], {
        shared: true,
        maximumPages: this.bytes.byteLength / pageBytes,
      }),
    );
    this.#functions = new WebAssembly.Instance(module, { env: { memory: this.memory } }).exports;
    const worker = new Worker(new URL("./worker.js", import.meta.url), {
      workerData: {
        module,
        memory: this.memory,
        calls: this.#calls,
        scratch: this.#scratch + scratchBytes,
      },
    });
    await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
    this.#worker = worker;
  }

  run(call: number): void {
    const { name, task, items } = this.#calls[call];
    (this.#functions[name] as KernelFunction)(task, 0, items, this.#scratch);
  }

  runOnTwoThreads(call: number): void {
    const flags = this.#flags;
    const { name, task, items } = this.#calls[call];
    Atomics.store(flags, control.call, call);
    const turn = Atomics.add(flags, control.turn, 1) + 1;
    Atomics.notify(flags, control.turn);
    (this.#functions[name] as KernelFunction)(task, 0, Math.ceil(items / 2), this.#scratch);
    while (Atomics.load(flags, control.done) !== turn);
  }

  async stop(): Promise<void> {
    await this.#worker?.terminate();
  }
}
