/** The files behind a model, for fingerprints and for refusing to overwrite them. */
import { storedModelOf } from "./model.ts";
import type { Model } from "./types.ts";

/** Real paths of the .onnx file and its external data, sorted; empty for models made in memory. */
export function filesOf(model: Model): readonly string[] {
  return [...storedModelOf(model).from.inputFiles].sort();
}
