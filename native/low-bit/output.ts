/**
 * Writes the finished sums of one panel to a row of the output, with the bias, and never beyond column n.
 */
import { f32, f32x4, type I32, i32, type Local, v128 } from "../assembler/index.ts";
import type { KernelCode } from "../kernel.ts";

export interface ColumnOperands {
  /** Address of float32 `[columns]`. */
  readonly sums: I32;
  /** Address of the output's row. */
  readonly to: I32;
  /** Number of the panel. */
  readonly item: Local<"i32">;
  readonly columns: number;
}

type OutputFields = { readonly n: "i32"; readonly bias: "i32" };

export function writeColumns(code: KernelCode<OutputFields>, operands: ColumnOperands): void {
  const { sums, item, columns } = operands;
  const { n, bias } = code.fields;
  const column = code.local("i32", i32.mul(item, i32.const(columns)));
  const to = code.local("i32", i32.add(operands.to, i32.mul(column, i32.const(4))));
  const biasAt = code.local("i32", i32.add(bias, i32.mul(column, i32.const(4))));
  code.if(
    i32.le_s(i32.add(column, i32.const(columns)), n),
    () => {
      const vectors = Array.from({ length: columns / 4 }, (_, at) =>
        code.local("v128", v128.load(sums, 16 * at)),
      );
      code.if(bias, () => {
        for (const [at, sum] of vectors.entries()) {
          sum.set(f32x4.add(sum, v128.load(biasAt, 16 * at)));
        }
      });
      for (const [at, sum] of vectors.entries()) code.do(v128.store(to, sum, 16 * at));
    },
    () => {
      const from = code.local("i32", sums);
      code.repeat(i32.sub(n, column), () => {
        const sum = code.local("f32", f32.load(from));
        code.if(bias, () => sum.set(f32.add(sum, f32.load(biasAt))));
        code.do(f32.store(to, sum));
        for (const pointer of [from, to, biasAt]) code.advance(pointer, 4);
      });
    },
  );
}
