/**
 * EmbedLayerNormalization: the sum of word, position and segment rows, normalised; and the count of unmasked tokens.
 */
import { normKernels, planNorm } from "../../../../native/index.ts";
import type { Operand, Operator, OperatorNode } from "../../session/operator.ts";
import { arrayOf, type HostTensor, isFloat, type NumberArray } from "../../session/storage.ts";
import { floatAttribute, required } from "../tensor/attributes.ts";

const inputNames = {
  ids: 0,
  segments: 1,
  words: 2,
  positions: 3,
  segmentTable: 4,
  scale: 5,
  bias: 6,
  mask: 7,
  positionIds: 8,
} as const;

/** Numbers of the inputs; 0 elements where left out. */
interface Sources {
  readonly arrays: readonly (NumberArray | undefined)[];
  readonly batch: number;
  readonly length: number;
  readonly width: number;
  /** Position ids are the same for all samples. */
  readonly sharedPositions: boolean;
}

/** Sums of the rows that the ids name. Ids are data: one outside its table is an error. */
function sumRows(
  { arrays, batch, length, width, sharedPositions }: Sources,
  sum: NumberArray,
): void {
  const { ids, segments, words, positions, segmentTable, positionIds } = inputNames;
  for (let row = 0; row < batch * length; row++) {
    const place = arrays[positionIds]?.[sharedPositions ? row % length : row] ?? row % length;
    const parts: [NumberArray | undefined, number][] = [
      [arrays[words], arrays[ids]?.[row] ?? 0],
      [arrays[positions], place],
      [arrays[segmentTable], arrays[segments]?.[row] ?? 0],
    ];
    const target = sum.subarray(row * width, (row + 1) * width).fill(0);
    for (const [table, id] of parts) {
      if (!table) continue;
      const from = id * width;
      if (id < 0 || from + width > table.length) {
        throw new RangeError(`id ${id} is outside a table of ${table.length / width} rows`);
      }
      for (let i = 0; i < width; i++) target[i] += table[from + i];
    }
  }
}

function countTokens(mask: NumberArray | undefined, length: number, counts: NumberArray): void {
  for (let b = 0; b < counts.length; b++) {
    let count = 0;
    for (let i = 0; i < length; i++) if (mask?.[b * length + i] === 1) count++;
    counts[b] = count;
  }
}

function sourcesOf(inputs: readonly (HostTensor | undefined)[]): Sources {
  const [batch, length] = required(inputs, inputNames.ids).shape;
  const width = required(inputs, inputNames.words).shape[1];
  const sharedPositions = inputs[inputNames.positionIds]?.shape[0] === 1;
  return { arrays: inputs.map((input) => input?.data), batch, length, width, sharedPositions };
}

const hostView = (
  { dtype, shape, pointer, elements }: Operand,
  buffer: ArrayBuffer,
): HostTensor => ({
  dtype,
  shape,
  data: new (arrayOf(dtype))(buffer, pointer, elements),
});

const epsilonOf = (node: OperatorNode): number => floatAttribute(node, "epsilon", 1e-12);

export const embedLayerNorm: Operator = {
  infer(node, inputs) {
    const { shape } = required(inputs, inputNames.ids);
    const words = required(inputs, inputNames.words);
    const [batch, length] = shape;
    if (shape.length !== 2) throw new RangeError(`ids [${shape.join(", ")}], expected two axes`);
    const hidden = { dtype: words.dtype, shape: [batch, length, words.shape[1]] };
    const types = [hidden, { dtype: "int32", shape: [batch] } as const, hidden];
    return types.map((type, index) => (node.outputs[index] ? type : undefined));
  },
  compute(node, inputs, outputs) {
    const sources = sourcesOf(inputs);
    const { batch, length, width } = sources;
    const output = required(outputs, 0).data;
    const sum = outputs[2]?.data ?? new Float64Array(output.length);
    sumRows(sources, sum);
    const counts = outputs[1]?.data;
    if (counts) countTokens(sources.arrays[inputNames.mask], length, counts);
    const scale = required(inputs, inputNames.scale).data;
    const bias = required(inputs, inputNames.bias).data;
    for (let start = 0; start < batch * length * width; start += width) {
      let mean = 0;
      for (let i = 0; i < width; i++) mean += sum[start + i] / width;
      let variance = 0;
      for (let i = 0; i < width; i++) variance += (sum[start + i] - mean) ** 2 / width;
      const factor = 1 / Math.sqrt(variance + epsilonOf(node));
      for (let i = 0; i < width; i++) {
        output[start + i] = (sum[start + i] - mean) * factor * scale[i] + bias[i];
      }
    }
  },
  compile(node, context) {
    const task = context.task(normKernels["layer-norm"]);
    let work = () => {};
    return {
      fits: (inputs) =>
        inputs.slice(inputNames.words, inputNames.mask).every((t) => !t || isFloat(t.dtype)),
      bind(inputs, outputs) {
        const output = required(outputs, 0);
        const width = output.shape[2];
        const rows = output.shape[0] * output.shape[1];
        const { items, values } = planNorm(rows, width, epsilonOf(node));
        const sum = outputs[2]?.pointer ?? output.pointer;
        const pointers = {
          input: sum,
          output: output.pointer,
          scale: required(inputs, inputNames.scale).pointer,
          bias: required(inputs, inputNames.bias).pointer,
        };
        const none = { skip: 0, skipBias: 0, sum: 0 };
        task.set({ ...values, ...pointers, ...none }, width > 0 ? items : 0, 8 * rows * width);
        work = () => {
          const { buffer } = context.memory();
          const views = inputs.map((operand) => operand && hostView(operand, buffer));
          const sources = sourcesOf(views);
          sumRows(sources, new Float32Array(buffer, sum, rows * width));
          const counts = outputs[1] && hostView(outputs[1], buffer).data;
          const { length } = sources;
          if (counts) countTokens(sources.arrays[inputNames.mask], length, counts);
        };
      },
      run() {
        work();
        task.run();
      },
    };
  },
};
