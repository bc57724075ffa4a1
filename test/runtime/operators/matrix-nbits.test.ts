/**
 * com.microsoft::MatMulNBits and GatherBlockQuantized as ONNX Runtime runs them, and what happens to files whose packed
 * weights do not fit.
 */
import { afterAll, describe, expect, test } from "vitest";
import type { FeedTensor } from "../../../src/core/feeds.ts";
import { createRandom } from "../../../src/core/random.ts";
import { attribute } from "../../../src/onnx/index.ts";
import { createSession } from "../../../src/runtime/create-session.ts";
import { createRuntime } from "../../../src/runtime/index.ts";
import { graph } from "../../support/graph-builder.ts";
import {
  difference,
  type FloatType,
  type NodeCase,
  nodeModel,
  normalTensor,
  onKernels,
  onOrt,
  tensorsOf,
} from "./matrix-case.ts";

const runtime = createRuntime();
afterAll(() => runtime.close());

function randomBytes(shape: readonly number[], seed: number): FeedTensor {
  const random = createRandom(seed);
  const length = shape.reduce((count, size) => count * size, 1);
  const data = Uint8Array.from({ length }, () => Math.floor(random.next() * 256));
  return { dtype: "uint8", shape, data };
}

interface NBits {
  readonly bits: 2 | 4 | 8;
  readonly k: number;
  readonly n: number;
  readonly block: number;
  readonly isSymmetric: boolean;
  readonly rows: readonly number[];
  readonly dtype?: FloatType;
  readonly hasBias?: boolean;
}

function nBitsCase({ bits, k, n, block, isSymmetric, rows, dtype = "float32", hasBias }: NBits) {
  const blocks = Math.ceil(k / block);
  const zeroBytes = Math.ceil((blocks * bits) / 8);
  return {
    operator: "com.microsoft::MatMulNBits",
    attributes: {
      K: attribute.int(k),
      N: attribute.int(n),
      bits: attribute.int(bits),
      block_size: attribute.int(block),
    },
    inputs: [
      normalTensor([...rows, k], dtype, 1),
      randomBytes([n, blocks, (block * bits) / 8], 2),
      normalTensor([n, blocks], dtype, 3),
      isSymmetric ? undefined : randomBytes([n, zeroBytes], 4),
      undefined,
      hasBias ? normalTensor([n], dtype, 5) : undefined,
    ],
    constants: [1, 2, 3, 5],
  } satisfies NodeCase;
}

const shapes: readonly Omit<NBits, "bits" | "isSymmetric">[] = [
  { k: 64, n: 24, block: 16, rows: [1] },
  { k: 160, n: 37, block: 32, rows: [5] },
  { k: 256, n: 16, block: 64, rows: [2, 20] },
  { k: 300, n: 9, block: 128, rows: [1, 1] },
  { k: 40, n: 40, block: 256, rows: [3] },
];

describe.each([2, 4, 8] as const)("MatMulNBits of %i bits", (bits) => {
  test.each([true, false])(
    "symmetric %s: |difference| ≤ 1e-3·max|y|, fast 3e-2",
    async (isSymmetric) => {
      for (const shape of shapes) {
        const { model, feeds } = nodeModel(nBitsCase({ ...shape, bits, isSymmetric }));
        const { o0: expected } = await onOrt(runtime, model, feeds);
        expect(difference((await onKernels(model, feeds)).o0, expected)).toBeLessThan(1e-3);
        expect(difference((await onKernels(model, feeds, "fast")).o0, expected)).toBeLessThan(3e-2);
      }
    },
  );
});

test("bias, and float16 graphs: |difference| ≤ 3e-3·max|y|", async () => {
  const shape = { k: 64, n: 20, block: 32, rows: [4], isSymmetric: true, bits: 4 } as const;
  for (const options of [{ hasBias: true }, { dtype: "float16" as const }]) {
    const { model, feeds } = nodeModel(nBitsCase({ ...shape, ...options }));
    const { o0: expected } = await onOrt(runtime, model, feeds);
    expect(difference((await onKernels(model, feeds)).o0, expected)).toBeLessThan(3e-3);
  }
});

test("no rows give no rows", async () => {
  const shape = { k: 64, n: 20, block: 32, rows: [2, 0], isSymmetric: true, bits: 4 } as const;
  const { model, feeds } = nodeModel(nBitsCase(shape));
  expect((await onKernels(model, feeds)).o0.shape).toEqual([2, 0, 20]);
});

const ids: FeedTensor = {
  dtype: "int64",
  shape: [2, 3],
  data: BigInt64Array.of(0n, 8n, 3n, 3n, 1n, 7n),
};

function gatherCase(bits: 4 | 8, isSymmetric: boolean): NodeCase {
  const [n, k, block] = [9, 64, 16];
  return {
    operator: "com.microsoft::GatherBlockQuantized",
    attributes: {
      bits: attribute.int(bits),
      block_size: attribute.int(block),
      gather_axis: attribute.int(0),
      quantize_axis: attribute.int(1),
    },
    inputs: [
      randomBytes([n, (k * bits) / 8], 6),
      ids,
      normalTensor([n, k / block], "float32", 7),
      isSymmetric ? undefined : randomBytes([n, (k / block) * (bits / 8)], 8),
    ],
    constants: [0, 2, 3],
    outputs: ["float32"],
  };
}

test.each([
  [4, true],
  [4, false],
  [8, true],
  [8, false],
] as const)(
  "GatherBlockQuantized of %i bits, symmetric %s: equal but for 1e-6",
  async (bits, isSymmetric) => {
    const { model, feeds } = nodeModel(gatherCase(bits, isSymmetric));
    const { o0: expected } = await onOrt(runtime, model, feeds);
    expect(difference((await onKernels(model, feeds)).o0, expected)).toBeLessThan(1e-6);
  },
);

test.each(["int4", "uint4"] as const)(
  "GatherBlockQuantized of %s without zero points",
  async (dtype) => {
    const base = gatherCase(4, true);
    const [codes, ...rest] = base.inputs;
    const table: FeedTensor = { dtype, shape: [9, 64], data: codes?.data ?? new Uint8Array() };
    const { model, feeds } = nodeModel({ ...base, inputs: [table, ...rest], opset: 21 });
    const { o0: expected } = await onOrt(runtime, model, feeds);
    expect(difference((await onKernels(model, feeds)).o0, expected)).toBeLessThan(1e-6);
  },
);

test("a table whose rows a Reshape cuts anew is read as it stands", async () => {
  const [k, block] = [32, 16];
  const builder = graph()
    .input("ids", "int64", [3])
    .initializer("codes", [4, 2, k / 2], randomBytes([4, 2, k / 2], 1).data as Uint8Array)
    .initializer("scales", [8, k / block], normalTensor([16], "float32", 2).data as Float32Array)
    .initializer("shape", [2], BigInt64Array.of(8n, BigInt(k / 2)))
    .node("Reshape", ["codes", "shape"], ["table"])
    .node("com.microsoft::GatherBlockQuantized", ["table", "ids", "scales"], ["o0"], {
      bits: attribute.int(4),
      block_size: attribute.int(block),
    })
    .output("o0", "float32");
  const model = builder.model();
  const feeds = {
    ids: { dtype: "int64", shape: [3], data: BigInt64Array.of(7n, 0n, 4n) },
  } as const;
  const { o0: expected } = await onOrt(runtime, model, feeds);
  const session = await createSession(model, { threads: 1 });
  const { o0: got } = await session.run(tensorsOf(feeds));
  await session.release();
  const run = { shape: got.dims, values: Float64Array.from(got.data as Float32Array) };
  expect(difference(run, expected)).toBeLessThan(1e-6);
});

describe("what does not fit", () => {
  const fitting = nBitsCase({ bits: 4, k: 64, n: 8, block: 32, isSymmetric: false, rows: [1] });
  const wrong = [
    ["codes", 1, randomBytes([8, 2, 15], 1)],
    ["scales", 2, normalTensor([8, 3], "float32", 1)],
    ["zero points", 3, randomBytes([8, 2], 1)],
  ] as const;
  test.each(wrong)(
    "%s of another size: bad-model that names the node",
    async (what, at, tensor) => {
      const inputs = fitting.inputs.map((input, position) => (position === at ? tensor : input));
      const { model } = nodeModel({ ...fitting, inputs });
      await expect(createSession(model, { threads: 1 })).rejects.toMatchObject({
        code: "bad-model",
        detail: { where: "MatMulNBits_0" },
        message: expect.stringContaining(what),
      });
    },
  );

  test("weights that are fed, float zero points and g_idx go to ONNX Runtime, with the reason", async () => {
    const zeros = normalTensor([8, 2], "float32", 9);
    const order: FeedTensor = {
      dtype: "int32",
      shape: [64],
      data: new Int32Array(64).map((_, i) => i >> 5),
    };
    const cases: readonly (readonly [string, NodeCase])[] = [
      ["no constants", { ...fitting, constants: [2, 3] }],
      [
        "float32",
        { ...fitting, inputs: fitting.inputs.map((input, at) => (at === 3 ? zeros : input)) },
      ],
      [
        "g_idx",
        {
          ...fitting,
          inputs: fitting.inputs.map((input, at) => (at === 4 ? order : input)),
          constants: [1, 2, 3, 4],
        },
      ],
    ];
    for (const [reason, each] of cases) {
      const messages: string[] = [];
      const session = await createSession(nodeModel(each).model, {
        threads: 1,
        onEvent: (event) => {
          if (event.type === "notice") messages.push(event.notice.message);
        },
      });
      expect(session.nodes.fallback).toBe(1);
      expect(messages.join()).toContain(reason);
      await session.release();
    }
  });
});
