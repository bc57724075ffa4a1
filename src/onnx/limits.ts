/**
 * Limits on what a file may ask of us, each with its reason. A file beyond one of them is refused with a clear
 * message before anything is allocated for it.
 */

/** protobuf readers refuse 100 nested messages; a subgraph costs three (graph, node, attribute). */
export const maxSubgraphDepth = 32;
export const maxMessageDepth = 100;

/** NumPy and the ONNX reference stop at 64 axes; more is damage, and every axis costs us an object. */
export const maxRank = 64;

/** Names are kept in memory by the thousand; real ones are below a kilobyte. */
export const maxNameBytes = 64 * 1024;

/** V8 refuses strings above 512 MB; attribute and metadata texts are read only when asked for. */
export const maxTextBytes = 256 * 1024 * 1024;

/** ai.onnx stands at 27 in 2026 and grows by about two a year; a far higher number is damage. */
export const maxOpset = 30;

/** protobuf cannot serialize a message above 2 GiB − 1, and other readers refuse it. */
export const maxMessageBytes = 2 ** 31 - 1;

/** `saveModel` moves weights out of the file above this size: 10 % below the limit of protobuf. */
export const autoExternalBytes = 1_800_000_000;

/** Smaller tensors stay inline: they are shapes and scalars that a reader wants during shape inference. */
export const minExternalBytes = 1024;

/** A tensor of this size starts on a page, so that readers can map it; padding costs at most 1/16. */
export const pageAlignedBytes = 64 * 1024;
export const pageBytes = 4096;
/** Smaller tensors start on a cache line. */
export const cacheLineBytes = 64;

/** `readInts` is for shapes, axes and counts. */
export const maxIntCount = 1 << 20;
