/**
 * The bytes of an ONNX model with one product, for the rivals: just enough protobuf, so that the benchmark of the
 * kernels needs nothing of the library.
 */

type Field = readonly number[] | Uint8Array;

const encoder = new TextEncoder();

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return [...bytes, rest];
}

const integer = (number: number, value: number): Field => [...varint(number * 8), ...varint(value)];

function message(number: number, ...fields: readonly Field[]): Uint8Array {
  const length = fields.reduce((sum, field) => sum + field.length, 0);
  const head = [...varint(number * 8 + 2), ...varint(length)];
  const bytes = new Uint8Array(head.length + length);
  bytes.set(head);
  let at = head.length;
  for (const field of fields) {
    bytes.set(field, at);
    at += field.length;
  }
  return bytes;
}

const text = (number: number, value: string) => message(number, encoder.encode(value));

const float32 = 1;
const uint8 = 2;

export interface Initializer {
  readonly name: string;
  readonly dims: readonly number[];
  readonly data: Float32Array | Uint8Array;
}

export interface ProductModel {
  readonly operator: "MatMul" | "MatMulNBits";
  readonly attributes: Readonly<Record<string, number>>;
  readonly initializers: readonly Initializer[];
  readonly k: number;
  readonly n: number;
}

/** Input `A` float32 [M, k], output `C` float32 [M, n]. */
export function productModel(model: ProductModel): Uint8Array {
  const { operator, attributes, initializers, k, n } = model;
  const domain = operator === "MatMul" ? "" : "com.microsoft";
  const node = message(
    1,
    text(1, "A"),
    ...initializers.map(({ name }) => text(1, name)),
    text(2, "C"),
    text(4, operator),
    ...Object.entries(attributes).map(([name, value]) =>
      message(5, text(1, name), integer(3, value), integer(20, 2)),
    ),
    text(7, domain),
  );
  const tensors = initializers.map(({ name, dims, data }) =>
    message(
      5,
      ...dims.map((dim) => integer(1, dim)),
      integer(2, data instanceof Uint8Array ? uint8 : float32),
      text(8, name),
      message(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
    ),
  );
  const value = (field: number, name: string, width: number) => {
    const shape = message(2, message(1, text(2, "M")), message(1, integer(1, width)));
    return message(field, text(1, name), message(2, message(1, integer(1, float32), shape)));
  };
  const graph = message(
    7,
    node,
    text(2, "product"),
    ...tensors,
    value(11, "A", k),
    value(12, "C", n),
  );
  const opset = (name: string, version: number) => message(8, text(1, name), integer(2, version));
  // A model is the content of a message; its own head is cut off.
  const whole = [Uint8Array.from(integer(1, 8)), graph, opset("", 17), opset("com.microsoft", 1)];
  const bytes = new Uint8Array(whole.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of whole) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
