/**
 * What a kernel is: a name, the instruction set it needs, the fields of its task, and the code that runs a range of
 * its items. The calling convention is the same for all, so that the runtime can hand any range to any thread:
 *
 *   kernel(task, begin, end, scratch)
 *
 * `task` points at the fields, four bytes each in their order; `begin .. end` are the items to do (what an item is, the
 * kernel says); `scratch` points at memory of the calling thread alone. Items are independent: any split of a range
 * over threads gives the same bytes.
 */
import { assembleModule, FunctionBuilder, f32, i32, type Local } from "./assembler/index.ts";

export type Isa = "simd128" | "relaxed-simd";

/** Pointers and integers are "i32", in elements or bytes as the kernel says. */
export type FieldType = "i32" | "f32";
export type Fields = Readonly<Record<string, FieldType>>;
export type FieldValues<F extends Fields> = Readonly<Record<keyof F, number>>;

export interface Kernel<F extends Fields = Fields> {
  /** By the grammar of native/README.md; unique. */
  readonly name: string;
  readonly isa: Isa;
  readonly fields: F;
  /** What one item of a range is: "row", "panel of 16 columns", "16 elements". */
  readonly item: string;
  /** Bytes of scratch memory that a thread needs, from the values of the fields; none by default. */
  scratchBytes?(values: FieldValues<F>): number;
  /** Writes the code. Called when the kernel is put into a module. */
  build(code: KernelCode<F>): void;
}

/** The function under construction, with the parameters of the calling convention as variables. */
export class KernelCode<F extends Fields = Fields> extends FunctionBuilder {
  readonly begin: Local<"i32">;
  readonly end: Local<"i32">;
  readonly scratch: Local<"i32">;
  /** The fields of the task, loaded when the function starts. */
  readonly fields: { readonly [Name in keyof F]: Local<F[Name]> };

  constructor(kernel: Kernel<F>) {
    super(kernel.name, ["i32", "i32", "i32", "i32"]);
    const task = this.parameter(0, "i32");
    this.begin = this.parameter(1, "i32");
    this.end = this.parameter(2, "i32");
    this.scratch = this.parameter(3, "i32");
    const loaded = Object.entries(kernel.fields).map(([name, type], index) => [
      name,
      type === "i32"
        ? this.local("i32", i32.load(task, 4 * index))
        : this.local("f32", f32.load(task, 4 * index)),
    ]);
    this.fields = Object.fromEntries(loaded) as KernelCode<F>["fields"];
  }
}

/** Keeps the types of the fields. */
export const defineKernel = <const F extends Fields>(kernel: Kernel<F>): Kernel<F> => kernel;

/** Bytes of a kernel's task. */
export const taskBytes = (kernel: Kernel): number => 4 * Object.keys(kernel.fields).length;

/**
 * Writes the fields of a task.
 *
 * @param memory - the whole memory, as it is now.
 * @param task - byte address, a multiple of 4.
 */
export function writeTask<F extends Fields>(
  memory: DataView,
  task: number,
  kernel: Kernel<F>,
  values: FieldValues<F>,
): void {
  let address = task;
  for (const [name, type] of Object.entries(kernel.fields)) {
    const value = values[name];
    if (type === "f32") memory.setFloat32(address, value, true);
    else memory.setInt32(address, value, true);
    address += 4;
  }
}

/** The bytes of a module that exports the kernels under their names and imports `env.memory`. */
export function assembleKernels(
  kernels: readonly Kernel[],
  options: { readonly shared: boolean; readonly maximumPages: number },
): Uint8Array<ArrayBuffer> {
  const functions = kernels.map((kernel) => {
    const code = new KernelCode(kernel);
    kernel.build(code);
    return code;
  });
  return assembleModule(functions, options);
}

export type KernelFunction = (task: number, begin: number, end: number, scratch: number) => void;
