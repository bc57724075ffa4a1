/** A generated decoder so small that a run of the command takes little longer than its start, and data for it. */
import { join } from "node:path";
import { saveModel } from "../../src/onnx/index.ts";
import { tinyLm } from "./command.ts";
import { llamaPlain } from "./transformers/index.ts";

/** Two blocks of seven matrices, and the embedding that is the head too. */
export const smallLayers = 2 * 7 + 1;

export async function saveSmallDecoder(path: string): Promise<void> {
  const heads = { heads: 2, kvHeads: 1, intermediate: 128 };
  const size = { hidden: 64, layers: 2, vocabulary: 1024, positions: 128, tied: true };
  await saveModel(llamaPlain({ ...size, ...heads, cache: false }), path);
}

export const smallData: readonly string[] = [
  ...["-c", join(tinyLm, "calibration.txt"), "-t", join(tinyLm, "tokenizer.json")],
  ...["--window", "64", "--rows", "6", "--evaluate-rows", "4"],
];
