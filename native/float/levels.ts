/**
 * How kernels walk arrays of any rank: a plan merges the dimensions that lie together in every operand, and what is
 * left becomes an inner run of elements and at most five outer levels, walked like an odometer.
 * Invariant: the order of rows is that of the output's elements, so any range of rows is a range of the output.
 */
import { type FunctionBuilder, type I32, i32, type Local } from "../assembler/index.ts";

/** Level 0 counts pieces of one run; levels 1 to 5 are dimensions, innermost first. */
export const levelCount = 6;
type LevelIndex = 0 | 1 | 2 | 3 | 4 | 5;
const levelIndices: readonly LevelIndex[] = [0, 1, 2, 3, 4, 5];

/**
 * `length`: elements of a run; `piece`: elements of one piece of it (the last may be shorter);
 * `size0 … size5`: how often each level turns; `<operand>0 …`: bytes that the operand moves at each level.
 */
export type LevelFields<Name extends string> = Readonly<
  Record<"length" | "piece" | `${"size" | Name}${LevelIndex}`, "i32">
>;
export type LevelValues<Name extends string> = Readonly<Record<keyof LevelFields<Name>, number>>;

export function levelFields<const Name extends string>(
  operands: readonly Name[],
): LevelFields<Name> {
  const names = ["size", ...operands].flatMap((name) => levelIndices.map((k) => `${name}${k}`));
  return Object.fromEntries(
    ["length", "piece", ...names].map((name) => [name, "i32"]),
  ) as unknown as LevelFields<Name>;
}

/** One dimension as all operands see it; strides in elements, 0 where an operand repeats. */
export interface Dimension {
  readonly size: number;
  readonly strides: readonly number[];
}

/** Drops dimensions of one element and merges neighbours that every operand walks as one; outermost first. */
export function mergeDimensions(dimensions: readonly Dimension[]): Dimension[] {
  const merged: Dimension[] = [];
  for (const dimension of dimensions) {
    if (dimension.size === 1) continue;
    const outer = merged.at(-1);
    const isOneWalk = outer?.strides.every(
      (stride, operand) => stride === dimension.strides[operand] * dimension.size,
    );
    if (!outer || !isOneWalk) merged.push(dimension);
    else {
      merged[merged.length - 1] = {
        size: outer.size * dimension.size,
        strides: dimension.strides,
      };
    }
  }
  return merged;
}

export interface LevelPlan<Name extends string> {
  readonly items: number;
  readonly values: LevelValues<Name>;
  /** Elements that each operand moves inside a run. */
  readonly innerStrides: readonly number[];
}

/**
 * Turns dimensions into the fields of a kernel.
 *
 * @param operands - names of the operands, in the order of the strides, with the bytes of an element.
 * @param pieceElements - runs longer than twice this are cut into pieces of it, so that threads can share them.
 * @returns undefined when more than six dimensions are left after merging: no kernel walks that.
 */
export function planLevels<const Name extends string>(
  dimensions: readonly Dimension[],
  operands: Readonly<Record<Name, number>>,
  pieceElements: number,
): LevelPlan<Name> | undefined {
  const names = Object.keys(operands) as Name[];
  const merged = mergeDimensions(dimensions);
  const isEmpty = dimensions.some(({ size }) => size === 0);
  const inner = merged.pop() ?? { size: 1, strides: names.map(() => 1) };
  if (merged.length >= levelCount) return undefined;
  const length = inner.size;
  const piece = length > 2 * pieceElements ? pieceElements : Math.max(length, 1);
  const pieces = Math.ceil(length / piece);
  const levels = [
    { size: pieces, strides: inner.strides.map((stride) => stride * piece) },
    ...merged.reverse(),
  ];
  const { none, sizeKeys, keys } = templateOf(names);
  const values: Record<string, number> = { ...none };
  values.length = length;
  values.piece = piece;
  for (const k of levelIndices) {
    const level = levels[k];
    if (!level) break;
    values[sizeKeys[k]] = level.size;
    for (let at = 0; at < names.length; at++) {
      values[keys[at][k]] = level.strides[at] * operands[names[at]];
    }
  }
  const items = isEmpty ? 0 : levels.reduce((product, { size }) => product * size, 1);
  return { items, values: values as LevelValues<Name>, innerStrides: inner.strides };
}

/** Field names by operand and level, and the values of levels that are not there. */
interface Template {
  readonly none: Readonly<Record<string, number>>;
  readonly sizeKeys: readonly string[];
  readonly keys: readonly (readonly string[])[];
}

/**
 * By the names of the operands: a pure memo. Graphs whose shapes grow plan thousands of times per second, and a copy of
 * an object that has all fields takes a fifth of the time of adding them one by one.
 */
const templates = new Map<string, Template>();

function templateOf(names: readonly string[]): Template {
  const id = names.join();
  const known = templates.get(id);
  if (known) return known;
  const keysOf = (name: string) => levelIndices.map((k) => `${name}${k}`);
  const sizeKeys = keysOf("size");
  const keys = names.map(keysOf);
  const none = Object.fromEntries([
    ...["length", "piece", ...keys.flat()].map((key) => [key, 0]),
    ...sizeKeys.map((key) => [key, 1]),
  ]);
  const made = { none, sizeKeys, keys };
  templates.set(id, made);
  return made;
}

/** Row-major strides in elements. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides: number[] = [];
  let stride = 1;
  for (const size of [...shape].reverse()) {
    strides.unshift(stride);
    stride *= size;
  }
  return strides;
}

/**
 * Writes the loop over the items `begin .. end`.
 *
 * @param fields - the level fields, as variables.
 * @param pointers - one per operand name; stand at the operand's start, are moved to the start of each piece.
 * @param body - gets the elements of the piece; must leave the pointers as they are.
 */
export function walkLevels<Name extends string>(
  code: FunctionBuilder & { readonly begin: Local<"i32">; readonly end: Local<"i32"> },
  fields: { readonly [Field in keyof LevelFields<Name>]: Local<"i32"> },
  pointers: Readonly<Record<Name, Local<"i32">>>,
  body: (count: Local<"i32">) => void,
): void {
  const { begin, end } = code;
  const names = Object.keys(pointers) as Name[];
  const field = (name: "length" | "piece" | `${"size" | Name}${LevelIndex}`) => fields[name];
  const indices = code.locals(levelCount, "i32");
  const rest = code.local("i32", begin);
  const move = (k: LevelIndex, times: I32) => {
    for (const name of names) code.advance(pointers[name], i32.mul(field(`${name}${k}`), times));
  };
  code.if(i32.lt_s(begin, end), () => {
    code.if(begin, () => {
      for (const k of levelIndices) {
        indices[k].set(i32.rem_u(rest, field(`size${k}`)));
        rest.set(i32.div_u(rest, field(`size${k}`)));
        move(k, indices[k]);
      }
    });
    const count = code.local("i32");
    const step = (k: number) => {
      if (k >= levelCount) return;
      const level = levelIndices[k];
      indices[level].set(i32.add(indices[level], i32.const(1)));
      for (const name of names) code.advance(pointers[name], field(`${name}${level}`));
      code.if(i32.eq(indices[level], field(`size${level}`)), () => {
        move(level, i32.sub(i32.const(0), indices[level]));
        indices[level].set(i32.const(0));
        step(k + 1);
      });
    };
    code.repeat(i32.sub(end, begin), () => {
      count.set(i32.sub(field("length"), i32.mul(indices[0], field("piece"))));
      code.if(i32.gt_s(count, field("piece")), () => count.set(field("piece")));
      body(count);
      step(0);
    });
  });
}
