/**
 * The public API of bitloom; the only module users import.
 */

export { parseBudget, parsePin, parsePlan, serializePlan } from "./allocate/index.ts";
export { defaultFormats, parseFormats } from "./pipeline/subject.ts";
export { type QuantizeResult, quantize } from "./pipeline.ts";
