/**
 * Conversions between element types, four elements at a time. Roundings: to the nearest, ties to even, into floats;
 * towards zero with saturation into integers, NaN becomes 0. The arrays must not overlap.
 */
import { type F64, f32, f64, i32, type Local, select } from "../assembler/index.ts";
import { defineKernel, type FieldValues, type Kernel, type KernelCode } from "../kernel.ts";
import { type ElementTypeName, type Lanes, lanes } from "./convert-lanes.ts";
import { forElements, smaller } from "./elements.ts";

/** Addresses in bytes, `count` in elements. */
export const convertFields = { input: "i32", output: "i32", count: "i32" } as const;

/** Elements of one item. */
export const convertItemElements = 1024;

export type ConvertKernel = Kernel<typeof convertFields>;
/** Pairs that would lose digits in float32 go one by one through float64. */
type Scalar = (at: Local<"i32">, to: Local<"i32">) => ReturnType<typeof f64.store>;
/** `value` is computed twice: int64 has no NaN. */
const truncate = (to: Local<"i32">, value: F64) =>
  f64.store(to, select(f64.trunc(value), f64.const(0), f64.eq(value, value)));
const scalars = {
  "i32-f64": [4, 8, (at, to) => f64.store(to, f64.convert_i32_s(i32.load(at)))],
  "f64-i32": [8, 4, (at, to) => i32.store(to, i32.trunc_sat_f64_s(f64.load(at)))],
  "u8-f64": [1, 8, (at, to) => f64.store(to, f64.convert_i32_s(i32.load8_u(at)))],
  "i8-f64": [1, 8, (at, to) => f64.store(to, f64.convert_i32_s(i32.load8_s(at)))],
  "f64-bool": [8, 1, (at, to) => i32.store8(to, f64.ne(f64.load(at), f64.const(0)))],
  /** As a cast of a float to int64, whose values the runtime keeps as float64. */
  "f32-f64-truncate": [4, 8, (at, to) => truncate(to, f64.promote_f32(f32.load(at)))],
  "f64-truncate": [8, 8, (at, to) => truncate(to, f64.load(at))],
  "f32-bool-is-nan": [4, 1, (at, to) => i32.store8(to, f32.ne(f32.load(at), f32.load(at)))],
  "bool-not": [1, 1, (at, to) => i32.store8(to, i32.eqz(i32.load8_u(at)))],
} satisfies Readonly<Record<string, readonly [number, number, Scalar]>>;

const throughLanes = [
  ["f16", "f32"],
  ["bf16", "f32"],
  ["f64", "f32"],
  ["i32", "f32"],
  ["u8", "f32"],
  ["i8", "f32"],
  ["f32", "f16"],
  ["f32", "bf16"],
  ["f32", "f64"],
  ["f32", "i32"],
  ["f32", "u8"],
  ["f32", "i8"],
  ["f32", "bool"],
] as const satisfies readonly (readonly [ElementTypeName, ElementTypeName])[];

type LanePair = (typeof throughLanes)[number];
type LaneName = { [P in LanePair as `${P[0]}-${P[1]}`]: P } extends infer Names
  ? keyof Names
  : never;
/** From and to; "bool" reads as "u8". */
export type ConvertName = LaneName | keyof typeof scalars;

function convertKernel(
  name: string,
  build: (code: KernelCode<typeof convertFields>) => void,
): ConvertKernel {
  return defineKernel({
    name: `${name}-convert-simd128`,
    isa: "simd128",
    fields: convertFields,
    item: "1024 elements",
    build,
  });
}

/** Moves the pointers to the range and walks it. */
function buildLoop(
  code: KernelCode<typeof convertFields>,
  inputBytes: number,
  outputBytes: number,
  laneCount: number,
  body: (isWhole: boolean) => void,
): void {
  const { input, output, count } = code.fields;
  const elements = i32.const(convertItemElements);
  const from = code.local("i32", i32.mul(code.begin, elements));
  const to = smaller(code, i32.mul(code.end, elements), count);
  code.advance(input, i32.mul(from, i32.const(inputBytes)));
  code.advance(output, i32.mul(from, i32.const(outputBytes)));
  const pointers = [
    { pointer: input, bytes: inputBytes },
    { pointer: output, bytes: outputBytes },
  ];
  forElements(code, i32.sub(to, from), laneCount, pointers, body);
}

function buildLanes(code: KernelCode<typeof convertFields>, source: Lanes, target: Lanes): void {
  const { input, output } = code.fields;
  const read = source.prepareRead(code);
  const write = target.prepareWrite(code);
  const value = code.local("v128");
  buildLoop(code, source.bytes, target.bytes, 4, (isWhole) => {
    value.set(read(input, isWhole));
    write(output, value, isWhole);
  });
}

/** Every conversion, by name. */
export const convertKernels = Object.fromEntries([
  ...throughLanes.map(([source, target]) => {
    const name = `${source}-${target}`;
    return [name, convertKernel(name, (code) => buildLanes(code, lanes[source], lanes[target]))];
  }),
  ...Object.entries<readonly [number, number, Scalar]>(scalars).map(
    ([name, [inputBytes, outputBytes, move]]) => [
      name,
      convertKernel(name, (code) =>
        buildLoop(code, inputBytes, outputBytes, 1, () =>
          code.do(move(code.fields.input, code.fields.output)),
        ),
      ),
    ],
  ),
]) as Readonly<Record<ConvertName, ConvertKernel>>;

export interface ConvertPlan {
  readonly items: number;
  readonly values: Pick<FieldValues<typeof convertFields>, "count">;
}

export function planConvert(count: number): ConvertPlan {
  return { items: Math.ceil(count / convertItemElements), values: { count } };
}
