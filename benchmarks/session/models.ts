/**
 * The models of the session benchmark, written to a folder: tiny-lm and a generated Llama of 134.5 M parameters, or a
 * file of the user's, rounded to nearest at 4 bits and in mixed precision.
 */
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Model, openModel, saveModel } from "../../src/index.ts";
import {
  llama135M,
  llamaFused,
  llamaPlain,
  quantizedTransformer,
} from "../../test/support/transformers/index.ts";

export type Target = "portable" | "ort";

export interface BenchmarkModel {
  readonly name: string;
  /** The file that all run, and the form that ONNX Runtime's own kernels run fastest (accuracy_level 4). */
  readonly files: Readonly<Record<Target, string>>;
  readonly bytes: number;
  /** Where the graph says how large it is. */
  readonly vocabulary: number | undefined;
}

export interface Source {
  readonly name: string;
  readonly isQuick: boolean;
  readonly formats: readonly string[];
  make(): Promise<Model> | Model;
}

const fourBits = ["int4-b32"];
const mixed = ["int4-b32", "int3-b32", "int6-b32", "int8-b32"];

const tinyLm = () =>
  openModel(fileURLToPath(new URL("../../../calibration/tiny-lm/model.onnx", import.meta.url)));
const fused = () => llamaFused(llama135M);
const plain = () => llamaPlain(llama135M);

const generated: readonly Source[] = [
  { name: "tiny-lm, 4 bits", isQuick: true, formats: fourBits, make: tinyLm },
  { name: "tiny-lm, mixed", isQuick: false, formats: mixed, make: tinyLm },
  { name: "Llama 135 M fused, 4 bits", isQuick: true, formats: fourBits, make: fused },
  { name: "Llama 135 M fused, mixed", isQuick: false, formats: mixed, make: fused },
  { name: "Llama 135 M plain, 4 bits", isQuick: false, formats: fourBits, make: plain },
];

export const generatedNames: readonly string[] = generated.map(({ name }) => name);

/** What is run: a file in both forms, else the generated models, or one of them. */
export function sourcesOf(asked: {
  readonly model: string | undefined;
  readonly only: string;
  readonly quick: boolean;
}): readonly Source[] {
  const { model, only, quick } = asked;
  if (model !== undefined) {
    const make = () => openModel(model);
    const stem = basename(model).replace(/\.onnx$/, "");
    return [
      { name: `${stem}, 4 bits`, isQuick: true, formats: fourBits, make },
      { name: `${stem}, mixed`, isQuick: false, formats: mixed, make },
    ].filter(({ isQuick }) => isQuick || !quick);
  }
  if (only !== "all") return generated.filter(({ name }) => name === only);
  return generated.filter(({ isQuick }) => isQuick || !quick);
}

/** Writes one model in both forms. */
export async function writeModel(
  { name, formats, make }: Source,
  folder: string,
): Promise<BenchmarkModel> {
  const float = await make();
  const files: Record<Target, string> = { portable: "", ort: "" };
  const sizes: number[] = [];
  for (const target of ["portable", "ort"] as const) {
    const { model } = quantizedTransformer(float, { formats, target });
    files[target] = join(folder, `${target}.onnx`);
    const { bytes } = await saveModel(model, files[target], { force: true });
    sizes.push(bytes);
  }
  const logits = float.graph.outputs.find(({ shape }) => shape?.length === 3);
  const vocabulary = logits?.shape?.[2];
  return {
    ...{ name, files, bytes: sizes[0] },
    vocabulary: typeof vocabulary === "number" ? vocabulary : undefined,
  };
}
