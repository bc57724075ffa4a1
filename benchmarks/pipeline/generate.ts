/**
 * Writes a Llama-shaped decoder with random weights, in a process of its own so that its memory is not measured:
 *
 *   node dist/benchmarks/pipeline/generate.js 135M|1100M FILE
 */
import { saveModel } from "../../src/index.ts";
import { llama135M, llamaPlain } from "../../test/support/transformers/index.ts";

const shapes = {
  "135M": llama135M,
  /** 1.1 G parameters in the shape of TinyLlama: 4.4 GB in float32. */
  "1100M": {
    hidden: 2048,
    layers: 22,
    heads: 32,
    kvHeads: 4,
    intermediate: 5632,
    vocabulary: 32000,
    positions: 2048,
    tied: false,
  },
} as const;

const [size, path] = process.argv.slice(2);
if (!(size in shapes))
  throw new Error(`Unknown size "${size}": ${Object.keys(shapes).join(", ")}.`);
const model = llamaPlain({ ...shapes[size as keyof typeof shapes], cache: false });
await saveModel(model, path, { force: true });
