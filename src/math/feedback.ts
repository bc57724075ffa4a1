/**
 * Rounding with error feedback (GPTQ) on kernels: some rows at a time, group of columns after group.
 * Not here: the formulas' kernels (`native/dense/round.ts`), the factor (`factor.ts`).
 * Invariant: rows do not influence each other.
 */
import { planMultiply, stripsOf, upperPanelBytes, upperPanels } from "../../native/index.ts";
import type { FeedbackInput, FeedbackResult, GridFit, GridSet } from "../core/algebra.ts";
import { invariant } from "../core/errors.ts";
import { blocksPerRow, effectiveBlockSize } from "../core/format.ts";
import { type Dense, withMemory } from "./dense.ts";
import { type PanelFactor, writePanels } from "./factor.ts";
import { ruleBytes, writeRule } from "./grids.ts";
import { rowsPerPass, rowsToStrips, stripsToRows } from "./strips.ts";
import { eventLoopTurns } from "./turns.ts";

/** Columns after which errors are spread over the rest of the row (the paper's B). */
const groupColumns = 128;

/** See `Algebra.roundWithFeedback`. */
export async function roundWithFeedback(
  dense: Dense,
  factor: PanelFactor,
  input: FeedbackInput,
): Promise<FeedbackResult> {
  const { weight, format, feed } = input;
  const { rows, cols, data } = weight;
  const { order, padded, panels } = factor;
  invariant(factor.size === cols, "Hessian and weight disagree in K");
  const fit = fitFor(factor, input);
  const blockSize = effectiveBlockSize(format, cols);
  const blocks = blocksPerRow(format, cols);
  const group = fit.isStatic ? groupColumns : Math.max(groupColumns, blockSize);
  const scales = new Float32Array(rows * blocks);
  const zeroPoints = new Uint8Array(rows * blocks);
  const codes = new Uint8Array(rows * cols);
  let overflowRow: number | undefined;
  const strips = Math.ceil(Math.min(rows, rowsPerPass) / 4);
  const steps = { errors: 32 * padded, sums: 32 * group, grids: 64 * blocks };
  const sizes = {
    weights: 16 * padded * strips,
    codes: 4 * padded * strips,
    errors: steps.errors * strips,
    sums: steps.sums * strips,
    grids: steps.grids * strips,
    blockOf: 4 * padded,
    check: 32 * strips,
    rule: ruleBytes(padded),
    feed: feed ? upperPanelBytes(padded) : 0,
    taken: feed ? steps.errors * strips : 0,
    feedSums: feed ? steps.sums * strips : 0,
  };
  await withMemory(dense, Object.values(sizes), async (...addresses) => {
    const names = Object.keys(sizes) as (keyof typeof sizes)[];
    const at = Object.fromEntries(names.map((name, i) => [name, addresses[i]])) as typeof sizes;
    const rule = writeRule(dense, at.rule, format, fit.rule, cols);
    const blockOf = new Int32Array(dense.engine.buffer, at.blockOf, padded);
    for (let k = 0; k < padded; k++) {
      const column = k < cols ? (order ? order[k] : k) : cols - 1;
      blockOf[k] = Math.floor(column / blockSize);
    }
    if (feed) writeFeed(dense, at.feed, feed, cols);
    const spread = (triangle: number, from: number, to: number, first: number, end: number) => {
      if (first === 0) {
        dense.floats(to, (steps.sums * strips) / 8).fill(0);
        return;
      }
      const plan = planMultiply({
        left: upperPanels,
        leftFirst: first / 4,
        leftCount: (end - first) / 4,
        right: stripsOf(padded),
        rightCount: strips,
        k: first,
        c: { leftStep: 128, rightStep: steps.sums, rowStep: 32 },
      });
      const values = { ...plan.values, left: triangle, right: from, c: to };
      dense.run.multiply.set(values, plan.items, 8 * first * (end - first) * strips);
      dense.run.multiply.run();
    };
    const turn = eventLoopTurns();
    for (let start = 0; start < rows; start += rowsPerPass) {
      const count = Math.min(rowsPerPass, rows - start);
      const used = Math.ceil(count / 4);
      const weights = new Float32Array(dense.engine.buffer, at.weights, 4 * padded * used);
      rowsToStrips(weights, padded, data, start, count, cols, order);
      // Views are taken anew, because another call may make the memory grow between two groups.
      const grids = () => dense.floats(at.grids, 8 * blocks * used);
      const check = () => dense.floats(at.check, 4 * used);
      if (fit.grids) copyGrids(grids(), fit.grids, start, count, blocks);
      check().fill(0);
      for (let first = 0; first < padded; first += group) {
        const end = Math.min(first + group, padded);
        spread(panels, at.errors, at.sums, first, end);
        if (feed) spread(at.feed, at.taken, at.feedSums, first, end);
        dense.run.roundStrips.set(
          {
            ...rule,
            weights: at.weights,
            weightStep: 16 * padded,
            panels,
            errors: at.errors,
            errorStep: steps.errors,
            sums: at.sums,
            sumStep: steps.sums,
            feed: feed ? at.feed : 0,
            taken: at.taken,
            feedSums: at.feedSums,
            codes: at.codes,
            codeStep: 4 * padded,
            grids: at.grids,
            gridStep: steps.grids,
            blockOf: at.blockOf,
            check: at.check,
            first,
            end,
            realColumns: cols,
            blockSize: fit.isStatic ? 0 : blockSize,
          },
          used,
          count * (end - first) * (end - first),
        );
        dense.run.roundStrips.run();
        await turn();
      }
      const codeStrips = new Uint8Array(dense.engine.buffer, at.codes, 4 * padded * used);
      stripsToRows(codes, start, count, cols, codeStrips, padded, { order });
      readGrids(grids(), scales, zeroPoints, start, count, blocks);
      const bad = check().findIndex((value) => value !== 0);
      if (bad >= 0) overflowRow ??= start + bad;
    }
  });
  return { codes, scales, zeroPoints, overflowRow };
}

interface Fit {
  /** Fixed from the start, or undefined: every block is fitted when it starts. */
  readonly grids: GridSet | undefined;
  readonly isStatic: boolean;
  readonly rule: GridFit;
}

function fitFor(factor: PanelFactor, { format, grids }: FeedbackInput): Fit {
  const minMax: GridFit = { trials: 0, ratio: 1 };
  if ("scales" in grids) return { grids, isStatic: true, rule: minMax };
  invariant(!factor.order, "blocks in activation order have no start: their grids must be given");
  const { blockSize } = format;
  invariant(
    blockSize > 0 && Math.max(groupColumns, blockSize) % blockSize === 0 && blockSize % 4 === 0,
    `GPTQ got blocks of ${blockSize}, which neither divide ${groupColumns} into multiples of 4 nor are multiples of it`,
  );
  return { grids: undefined, isStatic: false, rule: grids };
}

function writeFeed(dense: Dense, address: number, feed: Float64Array, size: number): void {
  invariant(feed.length === size * size, "feed and weight disagree in K");
  writePanels(dense, address, size, (panel, column, t) => {
    for (let k = 0; k < column; k++) panel[4 * k + t] = feed[k * size + column];
    panel[4 * column + t] = 0;
  });
}

/** Grids of `count` rows as [strip][block][4 scales, 4 zero points]; those of padding rows are 0. */
function copyGrids(
  into: Float64Array,
  { scales, zeroPoints }: GridSet,
  start: number,
  count: number,
  blocks: number,
): void {
  into.fill(0);
  for (let row = 0; row < count; row++) {
    for (let b = 0; b < blocks; b++) {
      const at = ((row >> 2) * blocks + b) * 8 + (row & 3);
      into[at] = scales[(start + row) * blocks + b];
      into[at + 4] = zeroPoints[(start + row) * blocks + b];
    }
  }
}

function readGrids(
  grids: Float64Array,
  scales: Float32Array,
  zeroPoints: Uint8Array,
  start: number,
  count: number,
  blocks: number,
): void {
  for (let row = 0; row < count; row++) {
    for (let b = 0; b < blocks; b++) {
      const at = ((row >> 2) * blocks + b) * 8 + (row & 3);
      scales[(start + row) * blocks + b] = grids[at];
      zeroPoints[(start + row) * blocks + b] = grids[at + 4];
    }
  }
}
