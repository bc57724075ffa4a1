/**
 * Puts functions together as the bytes of a WebAssembly module that imports its memory.
 */
import { unsigned } from "./expression.ts";
import { type FunctionBuilder, valueTypeBytes } from "./function.ts";

export interface ModuleOptions {
  /** The memory is a SharedArrayBuffer, for threads. */
  readonly shared: boolean;
  /** Upper limit of the imported memory, in pages of 64 KiB; must be at least the memory's own. */
  readonly maximumPages: number;
}

const section = (id: number, content: readonly number[]) => [
  id,
  ...unsigned(content.length),
  ...content,
];
const vector = (items: readonly (readonly number[])[]) => [
  ...unsigned(items.length),
  ...items.flat(),
];
const encoder = new TextEncoder();
const text = (value: string) => {
  const bytes = encoder.encode(value);
  return [...unsigned(bytes.length), ...bytes];
};

/**
 * The module that exports `functions` under their names; what they call comes along, not exported.
 *
 * Imports: `env.memory`.
 */
export function assembleModule(
  functions: readonly FunctionBuilder[],
  { shared, maximumPages }: ModuleOptions,
): Uint8Array<ArrayBuffer> {
  const all = withCallees(functions);
  const index = new Map(all.map((one, at) => [one, at]));
  const indexOf = (one: FunctionBuilder) => index.get(one) as number;
  const types = all.map(({ parameterTypes, result }) => [
    0x60,
    ...vector(parameterTypes.map((type) => [valueTypeBytes[type]])),
    ...vector(result ? [[valueTypeBytes[result]]] : []),
  ]);
  const memory = [
    ...text("env"),
    ...text("memory"),
    2,
    shared ? 3 : 1,
    ...unsigned(0),
    ...unsigned(maximumPages),
  ];
  const exported = functions.map((one) => [...text(one.name), 0, ...unsigned(indexOf(one))]);
  const bodies = all.map((one) => {
    const body = one.encode(indexOf);
    return [...unsigned(body.length), ...body];
  });
  return Uint8Array.from(
    [
      [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      section(1, vector(types)),
      section(2, vector([memory])),
      section(3, vector(all.map((_, at) => unsigned(at)))),
      section(7, vector(exported)),
      section(10, vector(bodies)),
    ].flat(),
  );
}

function withCallees(functions: readonly FunctionBuilder[]): FunctionBuilder[] {
  const all = new Set<FunctionBuilder>(functions);
  for (const one of all) for (const callee of one.callees) all.add(callee);
  return [...all];
}
