/**
 * Families of instructions that differ in their opcode only. The tables that use them (`scalar.ts`, `simd.ts`) name
 * every instruction as the WebAssembly specification does: `i32x4.dot_i16x8_s(a, b)`.
 */
import { type Expression, expression, type I32, unsigned, type ValueType } from "./expression.ts";

export type Opcode = readonly number[];
type Unary<A extends ValueType, R extends ValueType> = (a: Expression<A>) => Expression<R>;
type Binary<A extends ValueType, R extends ValueType> = (
  a: Expression<A>,
  b: Expression<A>,
) => Expression<R>;

export const plain = (opcode: number): Opcode => [opcode];
/** SIMD instructions have the prefix 0xfd and a LEB128 number. */
export const simd = (opcode: number): Opcode => [0xfd, ...unsigned(opcode)];

/** `table` is name → opcode number; every instruction in it takes one A and gives one R. */
export function unaries<A extends ValueType, R extends ValueType, const Name extends string>(
  a: A,
  result: R,
  opcode: (number: number) => Opcode,
  table: Readonly<Record<Name, number>>,
): Readonly<Record<Name, Unary<A, R>>> {
  return mapTable(table, (number) => {
    const code = opcode(number);
    return (x: Expression<A>) => expression(result, operand(x, a), code);
  });
}

/** As `unaries`, for instructions of two operands of one type. */
export function binaries<A extends ValueType, R extends ValueType, const Name extends string>(
  a: A,
  result: R,
  opcode: (number: number) => Opcode,
  table: Readonly<Record<Name, number>>,
): Readonly<Record<Name, Binary<A, R>>> {
  return mapTable(table, (number) => {
    const code = opcode(number);
    return (x: Expression<A>, y: Expression<A>) =>
      expression(result, operand(x, a), operand(y, a), code);
  });
}

export function mapTable<const Name extends string, R>(
  table: Readonly<Record<Name, number>>,
  entry: (number: number) => R,
): Readonly<Record<Name, R>> {
  return Object.fromEntries(
    Object.entries<number>(table).map(([name, number]) => [name, entry(number)]),
  ) as Record<Name, R>;
}

/** The operand's code; plain JavaScript callers get an error instead of an invalid module. */
export function operand<A extends ValueType>(x: Expression<A>, type: A): Expression<A>["code"] {
  if (x.type !== type) throw new TypeError(`operand of type ${x.type} where ${type} belongs`);
  return x.code;
}

/** Alignment hint (log2) and constant offset of a memory access. */
export function memoryArgument(alignLog2: number, offset: number): number[] {
  if (!Number.isInteger(offset) || offset < 0) throw new RangeError(`memory offset ${offset}`);
  return [...unsigned(alignLog2), ...unsigned(offset)];
}

/** Loads of one result type: name → [opcode number, log2 of the natural alignment]. */
export function loads<R extends ValueType, const Name extends string>(
  result: R,
  opcode: (number: number) => Opcode,
  table: Readonly<Record<Name, readonly [number, number]>>,
): Readonly<Record<Name, (address: I32, offset?: number) => Expression<R>>> {
  return Object.fromEntries(
    Object.entries<readonly [number, number]>(table).map(([name, [number, align]]) => [
      name,
      (address: I32, offset = 0) =>
        expression(
          result,
          operand(address, "i32"),
          opcode(number),
          // Pointers are aligned to elements, not to vectors, so the hint never promises more than 4 bytes.
          memoryArgument(Math.min(align, 2), offset),
        ),
    ]),
  ) as Record<Name, (address: I32, offset?: number) => Expression<R>>;
}

/** Stores of one value type. */
export function stores<A extends ValueType, const Name extends string>(
  value: A,
  opcode: (number: number) => Opcode,
  table: Readonly<Record<Name, readonly [number, number]>>,
): Readonly<
  Record<Name, (address: I32, stored: Expression<A>, offset?: number) => Expression<"void">>
> {
  return Object.fromEntries(
    Object.entries<readonly [number, number]>(table).map(([name, [number, align]]) => [
      name,
      (address: I32, stored: Expression<A>, offset = 0) =>
        expression(
          "void",
          operand(address, "i32"),
          operand(stored, value),
          opcode(number),
          memoryArgument(Math.min(align, 2), offset),
        ),
    ]),
  ) as Record<Name, (address: I32, stored: Expression<A>, offset?: number) => Expression<"void">>;
}
