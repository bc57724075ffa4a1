/** Streams, their Gram matrices and complete inputs for the tests of `correct/`. Float64, plain loops. */
import type { CorrectInput, CorrectProblem, StreamGrams } from "../../src/core/correction.ts";
import type { Event } from "../../src/core/events.ts";
import { parseFormat } from "../../src/core/format.ts";
import { createRandom } from "../../src/core/random.ts";
import type { Matrix } from "../../src/core/tensor.ts";
import { layerObjective } from "../../src/correct/objective.ts";
import { sharedAlgebra } from "../../src/math/algebra.ts";
import { rtn } from "../../src/quantize/rtn.ts";
import { normalMatrix, quantizeInput } from "../quantize/samples.ts";
import { referenceProduct, transpose } from "../support/reference.ts";

/** Rows of a layer's input in both streams, [T, K] each. */
export interface Streams {
  readonly rows: number;
  readonly cols: number;
  readonly float: Float64Array;
  readonly quantized: Float64Array;
}

/** Correlated inputs of uneven size; X̂ = X + X A + noise, the same A (of size `linear`) for every row. */
export function twoStreams(
  rows: number,
  cols: number,
  seed: number,
  noise = 0.1,
  linear = 0.3,
): Streams {
  const random = createRandom(seed);
  const normals = (count: number) => Float64Array.from({ length: count }, () => random.normal());
  const directions = normals(3 * cols);
  const mixing = normals(cols * cols).map((value) => (linear * value) / Math.sqrt(cols));
  const float = new Float64Array(rows * cols);
  for (let t = 0; t < rows; t++) {
    const common = normals(3);
    for (let k = 0; k < cols; k++) {
      let value = 0.5 * random.normal();
      for (let d = 0; d < 3; d++) value += common[d] * directions[d * cols + k];
      float[t * cols + k] = k % 8 === 3 ? 4 * value : value;
    }
  }
  const mixed = referenceProduct(float, mixing, rows, cols, cols);
  const quantized = float.map((value, i) => value + mixed[i] + noise * random.normal());
  return { rows, cols, float, quantized };
}

/** The rows `from` .. `to` − 1. */
export function part(streams: Streams, from: number, to: number): Streams {
  const { cols, float, quantized } = streams;
  return {
    rows: to - from,
    cols,
    float: float.slice(from * cols, to * cols),
    quantized: quantized.slice(from * cols, to * cols),
  };
}

/** H, C and the drift's own Gram matrix, by the definitions. */
export function gramsOf({ rows, cols, float, quantized }: Streams): StreamGrams {
  const drift = float.map((value, i) => value - quantized[i]);
  const gram = (left: Float64Array, right: Float64Array) =>
    referenceProduct(transpose(left, rows, cols), right, cols, rows, cols).map(
      (value) => (value * 2) / rows,
    );
  return {
    rows,
    hessian: gram(quantized, quantized),
    drift: gram(drift, quantized),
    driftGram: gram(drift, drift),
  };
}

/** J(Ŵ) = (2/T) ‖X Wᵀ − X̂ Ŵᵀ‖² from the activations themselves. */
export function referenceObjective(streams: Streams, weight: Matrix, candidate: Matrix): number {
  const { rows, cols, float, quantized } = streams;
  let sum = 0;
  for (let t = 0; t < rows; t++) {
    for (let n = 0; n < weight.rows; n++) {
      let difference = 0;
      for (let k = 0; k < cols; k++) {
        difference += float[t * cols + k] * weight.data[n * cols + k];
        difference -= quantized[t * cols + k] * candidate.data[n * cols + k];
      }
      sum += difference * difference;
    }
  }
  return (2 / rows) * sum;
}

/** How far float32 rounding of a target may move J: ‖target‖² · tr(H) · 1e-7. */
export function roundingSlack(grams: StreamGrams, target: Matrix): number {
  let trace = 0;
  for (let k = 0; k < target.cols; k++) trace += grams.hessian[k * target.cols + k];
  return 1e-7 * trace * target.data.reduce((sum, value) => sum + value * value, 0);
}

export const layer = "/model/q/MatMul";

/** A complete input; the last third of the rows is held out, the quantizer is round-to-nearest at 3 bits. */
export function correctInput(
  streams: Streams,
  outputs: number,
  more: Partial<CorrectInput> = {},
): CorrectInput {
  const { rows, cols } = streams;
  const hessian = new Float64Array(0);
  return {
    layer,
    weight: normalMatrix(outputs, cols, rows),
    grams: gramsOf(streams),
    holdout: gramsOf(part(streams, Math.ceil((2 * rows) / 3), rows)),
    takesFeed: false,
    activationOrder: false,
    options: {},
    quantize: async (target) =>
      rtn.quantize(quantizeInput(target, parseFormat("int3-b16"), hessian)),
    ...more,
  };
}

/** What the stage hands to a plug-in. */
export async function correctProblem(input: CorrectInput): Promise<CorrectProblem> {
  const algebra = await sharedAlgebra();
  const objective = await layerObjective(input.weight, input.grams, algebra);
  return { ...input, algebra, objective };
}

/** Collects notices. */
export function noticeLog(): { codes: string[]; onEvent: (event: Event) => void } {
  const codes: string[] = [];
  return {
    codes,
    onEvent: (event) => {
      if (event.type === "notice") codes.push(event.notice.code);
    },
  };
}
