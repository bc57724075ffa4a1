/**
 * Protobuf messages by field number, for files that no sane writer would make. Independent of `src/onnx/encode.ts`.
 */

/** A field: numbers become varints, texts and messages length-delimited. */
export type Field = readonly [field: number, value: number | bigint | string | Uint8Array];

export function varint(value: number | bigint): number[] {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  do {
    const low = Number(rest & 127n);
    rest >>= 7n;
    bytes.push(rest > 0n ? low | 128 : low);
  } while (rest > 0n);
  return bytes;
}

export function message(...fields: readonly Field[]): Uint8Array {
  const parts = fields.map(([field, value]) => {
    if (typeof value === "number" || typeof value === "bigint") {
      return Uint8Array.from([...varint(field * 8), ...varint(value)]);
    }
    const content = typeof value === "string" ? new TextEncoder().encode(value) : value;
    return Buffer.concat([
      Uint8Array.from([...varint(field * 8 + 2), ...varint(content.length)]),
      content,
    ]);
  });
  return new Uint8Array(Buffer.concat(parts));
}

export const packed = (values: readonly (number | bigint)[]): Uint8Array =>
  Uint8Array.from(values.flatMap(varint));

/** StringStringEntryProto. */
export const entry = (key: string, value: string): Uint8Array => message([1, key], [2, value]);

/** TensorProto with data_type, dims and name in front of `data` fields. */
export function tensorProto(
  name: string,
  type: number,
  dims: readonly (number | bigint)[],
  ...data: readonly Field[]
): Uint8Array {
  return message(...dims.map((dim): Field => [1, dim]), [2, type], [8, name], ...data);
}

/** ValueInfoProto of a float tensor. */
export const valueInfo = (name: string, type = 1): Uint8Array =>
  message([1, name], [2, message([1, message([1, type])])]);

/** NodeProto. */
export function nodeProto(
  opType: string,
  inputs: readonly string[],
  outputs: readonly string[],
  ...others: readonly Field[]
): Uint8Array {
  return message(
    ...inputs.map((name): Field => [1, name]),
    ...outputs.map((name): Field => [2, name]),
    [4, opType],
    ...others,
  );
}

/** ModelProto with IR 8, opset 18 and these GraphProto fields. */
export const modelProto = (...graph: readonly Field[]): Uint8Array =>
  message([1, 8], [8, message([1, ""], [2, 18])], [7, message(...graph)]);
