/**
 * Gather along one axis: copies the rows that float64 ids name (the runtime keeps int64 as float64).
 */
import { f64, i32, memory, select } from "../assembler/index.ts";
import { defineKernel, type FieldValues, type Kernel, type KernelCode } from "../kernel.ts";

/**
 * Addresses in bytes: table [outer, axisSize, rowBytes], ids float64 [idCount], output [outer, idCount, rowBytes].
 * `status`: an int32 that becomes 1 if an id is outside −axisSize .. axisSize − 1; its row is filled with zeros.
 */
export const gatherFields = {
  table: "i32",
  ids: "i32",
  output: "i32",
  status: "i32",
  idCount: "i32",
  axisSize: "i32",
  rowBytes: "i32",
} as const;

export type GatherKernel = Kernel<typeof gatherFields>;

function buildGather(code: KernelCode<typeof gatherFields>): void {
  const { table, ids, output, status, idCount, axisSize, rowBytes } = code.fields;
  const [outer, id, to] = code.locals(3, "i32");
  to.set(i32.add(output, i32.mul(code.begin, rowBytes)));
  code.for(code.begin, code.end, 1, (item) => {
    outer.set(i32.div_u(item, idCount));
    const at = i32.sub(item, i32.mul(outer, idCount));
    id.set(i32.trunc_sat_f64_s(f64.load(i32.add(ids, i32.mul(at, i32.const(8))))));
    id.set(i32.add(id, select(axisSize, i32.const(0), i32.lt_s(id, i32.const(0)))));
    code.if(
      i32.lt_u(id, axisSize),
      () => {
        const row = i32.add(i32.mul(outer, axisSize), id);
        code.do(memory.copy(to, i32.add(table, i32.mul(row, rowBytes)), rowBytes));
      },
      () => {
        code.do(memory.fill(to, i32.const(0), rowBytes));
        code.do(i32.store(status, i32.const(1)));
      },
    );
    code.advance(to, rowBytes);
  });
}

export const gatherKernel: GatherKernel = defineKernel({
  name: "x8-gather-simd128",
  isa: "simd128",
  fields: gatherFields,
  item: "row of the output",
  build: buildGather,
});

export interface GatherPlan {
  readonly items: number;
  readonly values: Pick<FieldValues<typeof gatherFields>, "idCount" | "axisSize" | "rowBytes">;
}

/** @param elementBytes - any size: a row is copied as bytes. */
export function planGather(
  shape: readonly number[],
  axis: number,
  idCount: number,
  elementBytes: number,
): GatherPlan {
  const product = (sizes: readonly number[]) => sizes.reduce((total, size) => total * size, 1);
  const rowBytes = product(shape.slice(axis + 1)) * elementBytes;
  const outer = product(shape.slice(0, axis));
  return { items: outer * idCount, values: { idCount, axisSize: shape[axis], rowBytes } };
}
