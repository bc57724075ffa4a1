/**
 * The types of one step's outputs, and their numbers when those follow from the shapes alone.
 */
import { BitloomError } from "../../core/errors.ts";
import { elementCount } from "../../core/tensor.ts";
import { evaluate } from "./constants.ts";
import { type InferInput, NeedsValue, type TensorType } from "./operator.ts";
import type { NodeStep, Step } from "./step.ts";
import type { HostTensor } from "./storage.ts";

/** Larger results are computed in the run, in memory that the plan accounts for. */
const foldedElements = 1 << 22;
/** Larger ones than this, where there is a kernel that computes them faster: masks of long sequences. */
const foldedElementsBesideKernel = 1 << 12;

/**
 * @param read - the numbers of an input that is computed in the run, if that has been done.
 * @returns false when the types depend on numbers that `read` does not have.
 */
export function evaluateTypes(
  step: NodeStep,
  inputs: readonly (InferInput | undefined)[],
  run: number,
  read: (input: number) => HostTensor | undefined,
): boolean {
  const given = [...inputs];
  for (;;) {
    try {
      assignTypes(step, inputs, step.operator.infer(step.node, given), run);
      return true;
    } catch (error) {
      if (!(error instanceof NeedsValue)) throw inNode(step, error);
      const input = given[error.input];
      const known = read(error.input);
      if (!known || !input) return false;
      given[error.input] = { ...input, known };
    }
  }
}

function assignTypes(
  step: NodeStep,
  inputs: readonly (InferInput | undefined)[],
  outputTypes: readonly (TensorType | undefined)[],
  run: number,
): void {
  const { node, operator, compiled, outputs } = step;
  const isKnown = operator.readsTypesOnly || inputs.every((input) => !input || input.known);
  const canFold = operator.compute !== undefined || operator.alias === true;
  const size = outputTypes.reduce((sum, type) => sum + (type ? elementCount(type.shape) : 0), 0);
  const limit = compiled ? foldedElementsBesideKernel : foldedElements;
  const folds = isKnown && canFold && size <= limit;
  const known = folds
    ? evaluate(
        node,
        operator,
        inputs.map((input) => input && (input.known ?? withoutNumbers(input))),
      )
    : [];
  for (const [index, value] of outputs.entries()) {
    const type = outputTypes[index];
    if (value && type) value.assign(type, known[index], run);
  }
  const types = inputs.map((input) => input && { dtype: input.dtype, shape: input.shape });
  if (folds || operator.alias) step.mode = "nothing";
  else if (compiled && (compiled.fits?.(types, outputTypes) ?? true)) step.mode = "compiled";
  else if (operator.compute) step.mode = "compute";
  else {
    throw new BitloomError(
      "unsupported",
      `Node "${node.name}" (${node.opType}) has no kernel for ${types.map(describe).join(", ")}. Please report it with the model's shapes.`,
      { what: node.opType, node: node.name },
    );
  }
  if (step.mode === "nothing") doNothing(step);
}

const nothing = () => undefined;

export function doNothing(step: NodeStep): void {
  step.mode = "nothing";
  step.execute = nothing;
}

const withoutNumbers = ({ dtype, shape }: TensorType): HostTensor => ({
  dtype,
  shape,
  data: new Uint8Array(),
});

const describe = (type: TensorType | undefined) =>
  type ? `${type.dtype} [${type.shape.join(", ")}]` : "nothing";

/** Shapes that do not fit together are the caller's mistake: the error says in which node they met. */
function inNode({ node }: NodeStep, error: unknown): unknown {
  if (error instanceof BitloomError || !(error instanceof RangeError)) return error;
  return new BitloomError(
    "bad-data",
    `Node "${node.name}" (${node.opType}) cannot run: ${error.message}. Check the shapes of the feeds.`,
    { input: node.name },
    { cause: error },
  );
}

export function unknownShape(step: Step): BitloomError {
  const node = step.kind === "node" ? step.node : step.segment.nodes[0];
  return new BitloomError(
    "unsupported",
    `The shapes at node "${node.name}" (${node.opType}) depend on a value that cannot be read. Report it with the model.`,
    { what: node.opType, node: node.name },
  );
}
