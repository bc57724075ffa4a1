/**
 * One block of a float32 product: some rows × some panels of C, from packed operands, k in blocks that keep a
 * panel in the first-level cache while all row tiles pass over it. Shared by gemm, matmul and conv, which differ in
 * how their operands get packed.
 */
import {
  type F32,
  FunctionBuilder,
  f32,
  f32x4,
  type I32,
  i32,
  type Local,
  v128,
} from "../assembler/index.ts";
import { elementsToBytes, minimum, pack } from "./gemm-pack.ts";
import { panelColumns, panelRowBytes, tileRows, tiles } from "./gemm-tile.ts";

/** Scratch of `multiplyBlock`: 8 zeros, 8 column biases, the limits, a tile of C. */
export const edgeBytes = (3 + tileRows) * panelRowBytes;

export interface BlockOperands {
  /** Rows of A, packed by `packRows` with the same rows, k and kBlock. */
  readonly a: I32;
  /** Panels of B, [panel][k][8]. */
  readonly b: I32;
  readonly c: I32;
  /** Bytes from row to row of C. */
  readonly cStep: I32;
  readonly rows: I32;
  readonly columns: I32;
  readonly k: I32;
  readonly kBlock: I32;
  /** float32 per column, or 0. */
  readonly columnBias: I32;
  /** float32 per row, or 0. */
  readonly rowBias: I32;
  /** Bytes from row bias to row bias; 0 for one value. */
  readonly rowBiasStep: I32;
  /** Not 0: C is added to. */
  readonly accumulate: I32;
  /** `edgeBytes` of scratch. */
  readonly edge: I32;
  readonly low: F32;
  readonly high: F32;
}

const operandNames = [
  "a",
  "b",
  "c",
  "cStep",
  "rows",
  "columns",
  "k",
  "kBlock",
  "columnBias",
  "rowBias",
  "rowBiasStep",
  "accumulate",
  "edge",
] as const;

const block = buildBlock();

/** Appends the product of one block. */
export function multiplyBlock(code: FunctionBuilder, operands: BlockOperands): void {
  const integers = operandNames.map((name) => operands[name]);
  code.run(block, ...integers, operands.low, operands.high);
}

/** A few elements; a loop, because `memory.copy` is a call into the engine. Moves both pointers. */
function copyElements(
  code: FunctionBuilder,
  target: Local<"i32">,
  source: Local<"i32">,
  count: I32,
): void {
  code.repeat(count, () => {
    code.do(f32.store(target, f32.load(source)));
    code.advance(target, 4);
    code.advance(source, 4);
  });
}

function buildBlock(): FunctionBuilder {
  const code = new FunctionBuilder("multiply-block", [
    ...operandNames.map(() => "i32" as const),
    "f32",
    "f32",
  ]);
  const operands = Object.fromEntries(
    operandNames.map((name, index) => [name, code.parameter(index, "i32")]),
  ) as Record<(typeof operandNames)[number], Local<"i32">>;
  const { a, b, c, cStep, rows, columns, k, kBlock, columnBias, rowBias, rowBiasStep } = operands;
  const { accumulate, edge } = operands;
  const lowLimit = code.parameter(operandNames.length, "f32");
  const highLimit = code.parameter(operandNames.length + 1, "f32");
  const zeros = edge;
  const biasEdge = code.local("i32", i32.add(edge, i32.const(panelRowBytes)));
  const tileEdge = code.local("i32", i32.add(edge, i32.const(3 * panelRowBytes)));
  [0, 16, 32, 48].forEach((offset) => {
    code.do(v128.store(edge, v128.zero(), offset));
  });
  code.if(i32.eqz(rowBias), () => {
    rowBias.set(zeros);
    rowBiasStep.set(i32.const(0));
  });
  const limits = code.local("i32", i32.add(edge, i32.const(2 * panelRowBytes)));
  const setLimits = (low: F32, high: F32) => {
    code.do(v128.store(limits, f32x4.splat(low)));
    code.do(v128.store(limits, f32x4.splat(high), 16));
  };
  setLimits(f32.const(Number.NEGATIVE_INFINITY), f32.const(Number.POSITIVE_INFINITY));
  const rowBiasNow = code.local("i32", rowBias);
  const rowBiasStepNow = code.local("i32", rowBiasStep);
  const kBegin = code.local("i32");
  const [kCount, column, row, panel, width, tileA, tileC, height, bias, biasRow] = code.locals(
    10,
    "i32",
  );
  const [start, startStep, out, outStep, line] = code.locals(5, "i32");
  const full = i32.eq(width, i32.const(panelColumns));
  /** Moves the ragged columns of a tile between C and its whole-width copy. */
  const moveTile = (to: I32, toStep: I32, from: I32, fromStep: I32) => {
    code.for(line, height, 1, () => {
      const target = code.local("i32", i32.add(to, i32.mul(line, toStep)));
      const source = code.local("i32", i32.add(from, i32.mul(line, fromStep)));
      copyElements(code, target, source, width);
    });
    line.set(i32.const(0));
  };
  const runTile = () => {
    const run = (count: number) =>
      code.run(
        tiles[count - 1],
        tileA,
        panel,
        bias,
        biasRow,
        rowBiasStepNow,
        start,
        startStep,
        out,
        outStep,
        kCount,
        limits,
      );
    const choose = (count: number): void =>
      count === 1
        ? run(1)
        : code.if(
            i32.eq(height, i32.const(count)),
            () => run(count),
            () => choose(count - 1),
          );
    choose(tileRows);
  };
  const doTile = () => {
    height.set(minimum(i32.sub(rows, row), i32.const(tileRows)));
    start.set(zeros);
    startStep.set(i32.const(0));
    out.set(tileC);
    outStep.set(cStep);
    const wantsC = i32.or(kBegin, accumulate);
    code.if(
      full,
      () =>
        code.if(wantsC, () => {
          start.set(tileC);
          startStep.set(cStep);
        }),
      () => {
        out.set(tileEdge);
        outStep.set(i32.const(panelRowBytes));
        code.if(wantsC, () => {
          moveTile(tileEdge, i32.const(panelRowBytes), tileC, cStep);
          start.set(tileEdge);
          startStep.set(i32.const(panelRowBytes));
        });
      },
    );
    runTile();
    code.if(i32.ne(width, i32.const(panelColumns)), () => {
      moveTile(tileC, cStep, tileEdge, i32.const(panelRowBytes));
    });
  };
  const doPanel = () => {
    width.set(minimum(i32.sub(columns, column), i32.const(panelColumns)));
    panel.set(
      i32.add(
        b,
        i32.add(elementsToBytes(i32.mul(column, k)), i32.mul(kBegin, i32.const(panelRowBytes))),
      ),
    );
    bias.set(zeros);
    code.if(i32.and(i32.eqz(kBegin), i32.ne(columnBias, i32.const(0))), () => {
      bias.set(i32.add(columnBias, elementsToBytes(column)));
      code.if(i32.ne(width, i32.const(panelColumns)), () => {
        const target = code.local("i32", biasEdge);
        copyElements(code, target, bias, width);
        bias.set(biasEdge);
      });
    });
    tileA.set(i32.add(a, elementsToBytes(i32.mul(kBegin, rows))));
    tileC.set(i32.add(c, elementsToBytes(column)));
    biasRow.set(rowBiasNow);
    row.set(i32.const(0));
    code.for(row, rows, tileRows, () => {
      doTile();
      code.advance(tileA, i32.mul(kCount, i32.const(4 * tileRows)));
      code.advance(tileC, i32.mul(cStep, i32.const(tileRows)));
      code.advance(biasRow, i32.mul(rowBiasStepNow, i32.const(tileRows)));
    });
  };
  code.for(kBegin, k, kBlock, () => {
    kCount.set(minimum(i32.sub(k, kBegin), kBlock));
    code.if(kBegin, () => {
      rowBiasNow.set(zeros);
      rowBiasStepNow.set(i32.const(0));
    });
    code.if(i32.eq(i32.add(kBegin, kCount), k), () => {
      setLimits(lowLimit, highLimit);
    });
    column.set(i32.const(0));
    code.for(column, columns, panelColumns, doPanel);
  });
  return code;
}

const rowPacker = buildRowPacker();

/**
 * Appends the packing of rows of A for `multiplyBlock`: [k block][row tile][k in the block][rows of the tile], 4 ·
 * rows · k bytes. `rowStep` and `kStep` in bytes.
 */
export function packRows(
  code: FunctionBuilder,
  operands: {
    readonly target: I32;
    readonly source: I32;
    readonly rows: I32;
    readonly k: I32;
    readonly kBlock: I32;
    readonly rowStep: I32;
    readonly kStep: I32;
    readonly alpha: F32;
  },
): void {
  const { target, source, rows, k, kBlock, rowStep, kStep, alpha } = operands;
  code.run(rowPacker, target, source, rows, k, kBlock, rowStep, kStep, alpha);
}

function buildRowPacker(): FunctionBuilder {
  const code = new FunctionBuilder("pack-rows", [
    "i32",
    "i32",
    "i32",
    "i32",
    "i32",
    "i32",
    "i32",
    "f32",
  ]);
  const [target, source, rows, k, kBlock, rowStep, kStep] = Array.from({ length: 7 }, (_, index) =>
    code.parameter(index, "i32"),
  );
  const alpha = code.parameter(7, "f32");
  const [kBegin, kCount, row, height, from] = code.locals(5, "i32");
  code.for(kBegin, k, kBlock, () => {
    kCount.set(minimum(i32.sub(k, kBegin), kBlock));
    from.set(i32.add(source, i32.mul(kBegin, kStep)));
    row.set(i32.const(0));
    code.for(row, rows, tileRows, () => {
      height.set(minimum(i32.sub(rows, row), i32.const(tileRows)));
      code.run(pack, target, from, height, height, rowStep, kStep, kCount, alpha);
      code.advance(from, i32.mul(rowStep, i32.const(tileRows)));
      code.advance(target, elementsToBytes(i32.mul(kCount, height)));
    });
  });
  return code;
}
