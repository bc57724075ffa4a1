/**
 * The WASM memory of one session, its kernels and tasks. Not here: the graph.
 * Invariant: views of the memory are taken when needed, because growing the memory may move it.
 */
import {
  assembleKernels,
  type Fields,
  type FieldValues,
  type Kernel,
  type KernelFunction,
  taskBytes,
} from "../../native/index.ts";
import { BitloomError, invariant } from "../core/errors.ts";
import { Heap } from "./heap.ts";
import type { Task } from "./task.ts";
import { controlBytes, type StartThreads, type ThreadPool } from "./threads.ts";

const pageBytes = 65536;
/** Addresses of WebAssembly memory have 32 bits. */
const maximumPages = 65536;
/** Panels that GEMM unpacks stay in the second-level cache, so no kernel asks for more. */
const scratchBytes = 1 << 20;
/** Below this many operations, handing work to another thread costs more than it saves. */
const threadedWork = 100_000;
/** Chunks per thread: enough to even out threads that are preempted, few enough to claim cheaply. */
const chunksPerThread = 4;

export interface EngineOptions {
  /** Threads in all. */
  readonly threads: number;
  readonly startThreads: StartThreads | undefined;
  /** Name of the model, for messages. */
  readonly label: string;
  readonly onThreadLost: (reason: string) => void;
}

export class Engine {
  readonly #memory: WebAssembly.Memory;
  readonly #shared: boolean;
  readonly #heap: Heap;
  readonly #kernels: Kernel[] = [];
  readonly #functions: KernelFunction[] = [];
  readonly #scratch: number;
  readonly #control: number;
  readonly #options: EngineOptions;
  #threads: ThreadPool | undefined;
  #version = 0;
  #views: { version: number; integers: Int32Array; floats: Float32Array } | undefined;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#shared = options.threads > 1 && options.startThreads !== undefined;
    this.#memory = createMemory(this.#shared, options.label);
    this.#heap = new Heap(pageBytes / 64, (bytes) => this.#ensure(bytes));
    this.#control = this.#heap.take(controlBytes);
    const threads = this.#shared ? options.threads : 1;
    this.#scratch = this.#heap.take(scratchBytes * threads);
  }

  /** Counts up when addresses stay but views of the memory do not. */
  get version(): number {
    return this.#version;
  }

  get threads(): number {
    return this.#threads?.count ?? 1;
  }

  get buffer(): ArrayBuffer {
    return this.#memory.buffer;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#memory.buffer);
  }

  take(bytes: number): number {
    return this.#heap.take(bytes);
  }

  give(address: number): void {
    this.#heap.give(address);
  }

  get usedBytes(): number {
    return this.#heap.usedBytes;
  }

  /** A task of `kernel`. All tasks are made before `seal`. */
  task<F extends Fields>(kernel: Kernel<F>): Task<F> {
    let index = this.#kernels.findIndex(({ name }) => name === kernel.name);
    if (index < 0) {
      invariant(this.#functions.length === 0, `kernel ${kernel.name} asked for after sealing`);
      index = this.#kernels.push(kernel) - 1;
    }
    const address = this.#heap.take(taskBytes(kernel));
    const places = new Map(
      Object.entries(kernel.fields).map(([name, type], at) => [
        name,
        { at: address / 4 + at, isInteger: type === "i32" },
      ]),
    );
    let items = 0;
    let chunk = 0;
    // Attention changes its tasks in every run: no views are made each time.
    const change = (values: Partial<FieldValues<F>>, count: number, work: number) => {
      const { integers, floats } = this.#words();
      for (const name in values) {
        const place = places.get(name);
        if (!place) continue;
        (place.isInteger ? integers : floats)[place.at] = values[name] as number;
      }
      items = count;
      const pays = work >= threadedWork && count > 1 && this.threads > 1;
      chunk = pays ? Math.ceil(count / (this.threads * chunksPerThread)) : 0;
    };
    return {
      set: change,
      change,
      run: () => {
        if (items === 0) return;
        if (chunk === 0) this.#functions[index](address, 0, items, this.#scratch);
        else (this.#threads as ThreadPool).run(index, address, items, chunk);
      },
    };
  }

  /** The memory as 32-bit words, made anew when it has grown. */
  #words(): { readonly integers: Int32Array; readonly floats: Float32Array } {
    if (this.#views?.version !== this.#version) {
      const { buffer } = this.#memory;
      this.#views = {
        version: this.#version,
        integers: new Int32Array(buffer),
        floats: new Float32Array(buffer),
      };
    }
    return this.#views;
  }

  /** Compiles the kernels that were asked for and starts the threads. */
  async seal(): Promise<void> {
    const bytes = assembleKernels(this.#kernels, { shared: this.#shared, maximumPages });
    const module = await WebAssembly.compile(bytes);
    const { exports } = await WebAssembly.instantiate(module, { env: { memory: this.#memory } });
    const names = this.#kernels.map(({ name }) => name);
    const functions = names.map((name) => exports[name] as KernelFunction);
    const { threads, startThreads, onThreadLost } = this.#options;
    if (this.#shared && startThreads) {
      this.#threads = await startThreads({
        memory: this.#memory,
        workers: threads - 1,
        control: this.#control,
        scratch: this.#scratch,
        scratchBytes,
        onLost: onThreadLost,
      });
      await this.#threads.load(module, names, functions);
    }
    this.#functions.push(...functions);
  }

  /** Waits for the end of a thread that died in the run before. */
  async recover(): Promise<void> {
    await this.#threads?.recovery;
  }

  async close(): Promise<void> {
    await this.#threads?.close();
    this.#threads = undefined;
  }

  #ensure(bytes: number): void {
    const missing = Math.ceil((bytes - this.#memory.buffer.byteLength) / pageBytes);
    if (missing <= 0) return;
    const { label } = this.#options;
    if (bytes > maximumPages * pageBytes) throw tooLarge(label, bytes);
    // By steps, because each growth makes all views invalid.
    const wanted = Math.max(missing, Math.ceil(this.#memory.buffer.byteLength / pageBytes / 4));
    const room = maximumPages - this.#memory.buffer.byteLength / pageBytes;
    if (!this.#grow(Math.min(wanted, room)) && !this.#grow(missing)) throw noMemory(label, bytes);
    this.#version++;
  }

  #grow(pages: number): boolean {
    try {
      this.#memory.grow(pages);
      return true;
    } catch {
      return false;
    }
  }
}

function createMemory(shared: boolean, label: string): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: 64, maximum: maximumPages, shared });
  } catch {
    throw noMemory(label, 64 * pageBytes);
  }
}

function tooLarge(label: string, bytes: number): BitloomError {
  const gibibytes = (bytes / 2 ** 30).toFixed(2);
  return new BitloomError(
    "unsupported",
    `"${label}" needs ${gibibytes} GiB of memory; WebAssembly memory ends at 4 GiB. Quantize the model to fewer bits or run shorter inputs.`,
    { what: `${bytes} bytes of memory` },
  );
}

function noMemory(label: string, bytes: number): BitloomError {
  const mebibytes = Math.ceil(bytes / 2 ** 20);
  return new BitloomError(
    "kernel",
    `No memory for "${label}": the engine refused ${mebibytes} MiB of WebAssembly memory. Release other sessions or quantize to fewer bits.`,
    { kernel: "memory" },
  );
}
