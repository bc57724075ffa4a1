/**
 * Writes a Llama-shaped decoder with random weights, in a process of its own so that its memory is not measured:
 *
 *   node dist/benchmarks/pipeline/generate.js 135M|1090M|1100M FILE
 */
import { saveModel } from "../../src/index.ts";
import { llamaPlain } from "../../test/support/transformers/index.ts";
import { sizes } from "./sizes.ts";

const [size, path] = process.argv.slice(2);
if (!(size in sizes)) throw new Error(`Unknown size "${size}": ${Object.keys(sizes).join(", ")}.`);
const model = llamaPlain({ ...sizes[size as keyof typeof sizes], cache: false });
await saveModel(model, path, { force: true });
