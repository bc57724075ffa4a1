import { describe, expect, test } from "vitest";
import { roundStrips } from "../../../native/dense/round.ts";
import { parseFormat, type WeightFormat } from "../../../src/core/format.ts";
import { createRandom } from "../../../src/core/random.ts";
import { encode, type Grid } from "../../../src/quantize/grid.ts";
import { trialScales } from "../../../src/quantize/trial-scales.ts";
import { searchGrid } from "../../support/grid-search.ts";
import { runKernel } from "../harness.ts";
import {
  chain,
  cutUp,
  inPanels,
  inStrips,
  panelLength,
  randomDoubles,
  randomTriangle,
} from "./matrices.ts";

interface Case {
  readonly format: WeightFormat;
  /** Columns without padding. */
  readonly columns: number;
  readonly first: number;
  readonly end: number;
  readonly strips: number;
  readonly isFitted: boolean;
  readonly hasFeed: boolean;
  readonly piece?: number;
}

/** Everything that the kernel reads and writes. */
function state(one: Case) {
  const { columns, first, end, strips, format } = one;
  const padded = Math.ceil(columns / 4) * 4;
  const blocks = Math.ceil(columns / (format.blockSize || columns));
  const random = createRandom(columns + first);
  const lines = 4 * strips;
  const feed = new Float64Array(panelLength(padded));
  for (let j = 0; j < padded; j++) {
    for (let i = 0; i < j; i++) feed[inPanels(i, j)] = (random.normal() / columns) * 2;
  }
  const grids = new Float64Array(strips * blocks * 8);
  for (let strip = 0; strip < strips * blocks; strip++) {
    for (let row = 0; row < 4; row++) {
      // Some blocks have the scale 0, as blocks of zeros have.
      const scale = random.next() < 0.1 ? 0 : Math.fround(random.sign() * (0.1 + random.next()));
      grids[8 * strip + row] = scale;
      grids[8 * strip + 4 + row] = format.symmetric
        ? 2 ** (format.bits - 1)
        : Math.floor(random.next() * 2 ** format.bits);
    }
  }
  return {
    weights: Float32Array.from(randomDoubles(lines * padded, 1)),
    panels: randomTriangle(padded, 2),
    errors: randomDoubles(lines * padded, 3).map((d) => d / 10),
    sums: randomDoubles(lines * (end - first), 4).map((d) => d / 10),
    feed,
    taken: randomDoubles(lines * padded, 5),
    feedSums: randomDoubles(lines * (end - first), 6).map((d) => d / 10),
    codes: new Uint8Array(lines * padded),
    grids,
    blockOf: Int32Array.from({ length: padded }, (_, k) =>
      Math.min(blocks - 1, Math.floor(k / (format.blockSize || columns))),
    ),
    check: new Float64Array(lines),
    importance: randomDoubles(columns, 7).map(Math.abs),
    ratio: Float64Array.of(trialScales[format.bits].ratio),
  };
}
type State = ReturnType<typeof state>;

function run(one: Case): State {
  const { format, columns, first, end, strips, isFitted, hasFeed, piece } = one;
  const arrays = state(one);
  const padded = arrays.blockOf.length;
  const { feed, ...others } = arrays;
  runKernel({
    kernel: roundStrips,
    arrays: hasFeed ? arrays : others,
    values: {
      ...(!hasFeed && { feed: 0 }),
      weightStep: 16 * padded,
      errorStep: 32 * padded,
      sumStep: 32 * (end - first),
      codeStep: 4 * padded,
      gridStep: (8 * arrays.grids.length) / strips,
      first,
      end,
      realColumns: columns,
      blockSize: isFitted ? format.blockSize : 0,
      highest: 2 ** format.bits - 1,
      isSymmetric: format.symmetric ? 1 : 0,
      isFloat16: format.scaleType === "float16" ? 1 : 0,
      trials: trialScales[format.bits].trials,
    },
    items: strips,
    ...(piece !== undefined && { ranges: cutUp(strips, piece) }),
  });
  return arrays;
}

/** The same in plain loops: one row at a time, sums in the order that the kernel says. */
function twin(one: Case): State {
  const { format, columns, first, end, isFitted, hasFeed } = one;
  const s = state(one);
  const padded = s.blockOf.length;
  const highest = 2 ** format.bits - 1;
  const at = (row: number, k: number) => ((row >> 2) * padded + k) * 4 + (row & 3);
  for (let row = 0; row < 4 * one.strips; row++) {
    const gridAt = (k: number) => {
      const blocks = s.grids.length / one.strips / 8;
      return ((row >> 2) * blocks + s.blockOf[k]) * 8 + (row & 3);
    };
    /** Sum for column j over what was done before: the group, the block, then the panel one by one. */
    const gathered = (
      sums: Float64Array,
      triangle: Float64Array,
      strips: Float64Array,
      begin: number,
      j: number,
      isPanelIncluded: boolean,
    ) => {
      const term = (k: number) => triangle[inPanels(k, j)] * strips[at(row, k)];
      const panel = j - (j % 4);
      let sum = inStrips(sums, end - first, row, j - first);
      if (begin > first) sum += chain(first, begin, term);
      if (!isPanelIncluded) return sum;
      if (panel > begin) sum += chain(begin, panel, term);
      for (let k = panel; k < j; k++) sum += term(k);
      return sum;
    };
    const size = isFitted ? format.blockSize : end - first;
    for (let begin = first; begin < end; begin += size) {
      const blockEnd = Math.min(begin + size, end);
      const base = (j: number, isExact: boolean) =>
        s.weights[at(row, j)] +
        (hasFeed ? gathered(s.feedSums, s.feed, s.taken, begin, j, !isExact) : 0);
      const target = (j: number, isExact: boolean) =>
        base(j, isExact) +
        gathered(s.sums, s.panels, s.errors, begin, j, true) / s.panels[inPanels(j, j)];
      if (isFitted) {
        const values = new Float64Array(blockEnd - begin);
        for (let j = begin; j < blockEnd; j++) {
          values[j - begin] = target(j, true);
          s.errors[at(row, j)] = base(j, true) - values[j - begin];
        }
        const count = Math.min(format.blockSize, columns - begin);
        const grid: Grid = { scale: 0, zeroPoint: 0 };
        searchGrid(values, count, format, s.importance.subarray(begin, begin + count), grid);
        s.grids[gridAt(begin)] = grid.scale;
        s.grids[gridAt(begin) + 4] = grid.zeroPoint;
      }
      for (let j = begin; j < blockEnd; j++) {
        const scale = s.grids[gridAt(j)];
        const zero = s.grids[gridAt(j) + 4];
        const t = target(j, false);
        const code = encode(t, scale, zero, highest);
        s.codes[at(row, j)] = code;
        s.errors[at(row, j)] = base(j, false) - scale * (code - zero);
        if (hasFeed) s.taken[at(row, j)] = t;
        if (!Number.isFinite(t)) s.check[row] = Number.NaN;
      }
    }
  }
  return s;
}

const cases: readonly [string, number, number, number, number][] = [
  // format, columns, first, end, strips
  ["int4-b128", 256, 128, 256, 2],
  ["int4-b32-asym", 128, 0, 128, 3],
  ["int3-b16", 70, 0, 72, 1],
  ["int2-b64-asym", 199, 128, 200, 2],
  ["int8-b256-s32", 300, 0, 256, 1],
  ["int5-b16-asym", 4, 0, 4, 1],
  ["int6-b32", 129, 128, 132, 2],
];

describe.each(cases)("%s, %i columns, %i .. %i of %i strips", (id, columns, first, end, strips) => {
  const format = parseFormat(id);
  test.each([
    { isFitted: true, hasFeed: false },
    { isFitted: true, hasFeed: true },
    { isFitted: false, hasFeed: false },
    { isFitted: false, hasFeed: true },
  ])("the bits of the plain loops, %o", (kind) => {
    const one = { format, columns, first, end, strips, ...kind };
    const actual = run(one);
    const expected = twin(one);
    for (const name of ["grids", "codes", "errors", "taken", "check"] as const) {
      expect(actual[name], name).toEqual(expected[name]);
    }
  });
});

test("any split of the strips gives the same bytes", () => {
  const format = parseFormat("int3-b32");
  const shape = {
    format,
    columns: 64,
    first: 0,
    end: 64,
    strips: 7,
    isFitted: true,
    hasFeed: true,
  };
  const whole = run(shape);
  for (const piece of [1, 2, 3]) expect(run({ ...shape, piece })).toEqual(whole);
});

test("a target that is not finite marks its row, and no other", () => {
  const format = parseFormat("int3-b32");
  const one = {
    format,
    columns: 32,
    first: 0,
    end: 32,
    strips: 2,
    isFitted: false,
    hasFeed: false,
  };
  const arrays = state(one);
  arrays.weights[4 * 32 * 1 + 4 * 5 + 2] = Number.POSITIVE_INFINITY;
  const { feed: _, ...others } = arrays;
  runKernel({
    kernel: roundStrips,
    arrays: others,
    values: {
      feed: 0,
      weightStep: 16 * 32,
      errorStep: 32 * 32,
      sumStep: 32 * 32,
      codeStep: 4 * 32,
      gridStep: 64,
      first: 0,
      end: 32,
      realColumns: 32,
      blockSize: 0,
      highest: 7,
      isSymmetric: 1,
      isFloat16: 1,
      trials: 0,
    },
    items: 2,
  });
  expect([...arrays.check].map(Number.isNaN)).toEqual(
    [6].reduce((all, row) => all.with(row, true), new Array<boolean>(8).fill(false)),
  );
});
