/**
 * The float32 product of two activations, batched and strided: attention scores of plain graphs.
 * Both operands are packed on the way, so any strides do. For a constant right side gemm.ts is faster.
 */
import { f32, i32 } from "../assembler/index.ts";
import { defineKernel } from "../kernel.ts";
import { edgeBytes, multiplyBlock, packRows } from "./gemm-block.ts";
import { elementsToBytes, minimum, pack } from "./gemm-pack.ts";
import { panelColumns, tileRows } from "./gemm-tile.ts";

/**
 * C[i, m, n] = clamp(alpha · Σ_k A[i, m, k] · B[i, k, n] + rowBias[m] (+ C[i, m, n]), low, high)
 *
 * Fields: pointers a, b, c, columnBias, rowBias (0: none), strides in elements (0: broadcast) over three batch
 * levels; the rest from `planMatmul`. Items that follow each other share the packed B of their columns.
 * Cost: 2·m·n·k operations per batch, plus packing A once per 64 columns.
 * Numerics: as `gemm`.
 */
export const matmul = defineKernel({
  name: `f32-f32-f32-matmul-${tileRows}x${panelColumns}c1-simd128`,
  isa: "simd128",
  fields: {
    a: "i32",
    b: "i32",
    c: "i32",
    columnBias: "i32",
    rowBias: "i32",
    rowBiasStep: "i32",
    m: "i32",
    n: "i32",
    k: "i32",
    aRow: "i32",
    aColumn: "i32",
    bRow: "i32",
    bColumn: "i32",
    cRow: "i32",
    cBatch: "i32",
    aOuter: "i32",
    aMiddle: "i32",
    aInner: "i32",
    bOuter: "i32",
    bMiddle: "i32",
    bInner: "i32",
    middleSize: "i32",
    innerSize: "i32",
    accumulate: "i32",
    rowBlock: "i32",
    columnBlock: "i32",
    kBlock: "i32",
    alpha: "f32",
    low: "f32",
    high: "f32",
  },
  item: "block of rowBlock rows × columnBlock columns of one batch, rows first, then columns, then batches",
  scratchBytes: ({ rowBlock, columnBlock, k }) => edgeBytes + 4 * (rowBlock + columnBlock) * k,
  build(code) {
    const { a, b, c, columnBias, rowBias, rowBiasStep, m, n, k, accumulate } = code.fields;
    const { aRow, aColumn, bRow, bColumn, cRow, cBatch, alpha, low, high } = code.fields;
    const { aOuter, aMiddle, aInner, bOuter, bMiddle, bInner } = code.fields;
    const { middleSize, innerSize, rowBlock, columnBlock, kBlock } = code.fields;
    const ceilDivide = (count: typeof m, by: typeof m) =>
      code.local("i32", i32.div_u(i32.add(count, i32.sub(by, i32.const(1))), by));
    const rowBlocks = ceilDivide(m, rowBlock);
    const columnBlocks = ceilDivide(n, columnBlock);
    const packedB = code.local("i32", i32.add(code.scratch, i32.const(edgeBytes)));
    const packedA = code.local("i32", i32.add(packedB, elementsToBytes(i32.mul(columnBlock, k))));
    const packed = code.local("i32", i32.const(-1));
    const [strip, batch, outer, middle, inner, row, rows, column, columns, at] = code.locals(
      10,
      "i32",
    );
    const [aBase, bBase, bias, rowBiasAt] = code.locals(4, "i32");
    const offset = (o: typeof m, mid: typeof m, i: typeof m) =>
      elementsToBytes(i32.add(i32.mul(outer, o), i32.add(i32.mul(middle, mid), i32.mul(inner, i))));
    const packColumns = () => {
      at.set(i32.const(0));
      code.for(at, columns, panelColumns, () => {
        code.run(
          pack,
          i32.add(packedB, elementsToBytes(i32.mul(at, k))),
          i32.add(bBase, elementsToBytes(i32.mul(i32.add(column, at), bColumn))),
          minimum(i32.sub(columns, at), i32.const(panelColumns)),
          i32.const(panelColumns),
          elementsToBytes(bColumn),
          elementsToBytes(bRow),
          k,
          f32.const(1),
        );
      });
    };
    const item = code.local("i32", code.begin);
    code.for(item, code.end, 1, () => {
      strip.set(i32.div_u(item, rowBlocks));
      batch.set(i32.div_u(strip, columnBlocks));
      inner.set(i32.rem_u(batch, innerSize));
      middle.set(i32.rem_u(i32.div_u(batch, innerSize), middleSize));
      outer.set(i32.div_u(i32.div_u(batch, innerSize), middleSize));
      aBase.set(i32.add(a, offset(aOuter, aMiddle, aInner)));
      bBase.set(i32.add(b, offset(bOuter, bMiddle, bInner)));
      column.set(i32.mul(i32.rem_u(strip, columnBlocks), columnBlock));
      columns.set(minimum(i32.sub(n, column), columnBlock));
      row.set(i32.mul(i32.rem_u(item, rowBlocks), rowBlock));
      rows.set(minimum(i32.sub(m, row), rowBlock));
      code.if(i32.ne(strip, packed), () => {
        packed.set(strip);
        packColumns();
      });
      packRows(code, {
        target: packedA,
        source: i32.add(aBase, elementsToBytes(i32.mul(row, aRow))),
        rows,
        k,
        kBlock,
        rowStep: elementsToBytes(aRow),
        kStep: elementsToBytes(aColumn),
        alpha,
      });
      bias.set(i32.const(0));
      code.if(columnBias, () => bias.set(i32.add(columnBias, elementsToBytes(column))));
      rowBiasAt.set(i32.const(0));
      code.if(rowBias, () =>
        rowBiasAt.set(i32.add(rowBias, elementsToBytes(i32.mul(row, rowBiasStep)))),
      );
      const element = i32.add(i32.add(i32.mul(batch, cBatch), i32.mul(row, cRow)), column);
      multiplyBlock(code, {
        a: packedA,
        b: packedB,
        c: i32.add(c, elementsToBytes(element)),
        cStep: elementsToBytes(cRow),
        rows,
        columns,
        k,
        kBlock,
        columnBias: bias,
        rowBias: rowBiasAt,
        rowBiasStep: elementsToBytes(rowBiasStep),
        accumulate,
        edge: code.scratch,
        low,
        high,
      });
    });
  },
});
