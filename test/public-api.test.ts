import { expect, test } from "vitest";
import * as api from "../src/index.ts";

test("the exported names are these; a change here is a change of the public API", () => {
  expect(Object.keys(api).sort()).toMatchInlineSnapshot(`
    [
      "BitloomError",
      "Tensor",
      "allocateBits",
      "allocators",
      "calibrate",
      "calibrateModel",
      "checkOutputs",
      "chooseLoss",
      "correctWeight",
      "corrections",
      "createRuntime",
      "createSession",
      "defaultFormats",
      "defineScorer",
      "dequantize",
      "describeProtocol",
      "encodePrompt",
      "evaluateFiles",
      "evaluateModels",
      "findBlocks",
      "findLayers",
      "float16Format",
      "float32Format",
      "formatBytes",
      "generateText",
      "generateTokens",
      "inspectModel",
      "isBitloomError",
      "layerKinds",
      "loadMeasurements",
      "loadPlan",
      "loadStatistics",
      "loadTokenizer",
      "lossOf",
      "openAlgebra",
      "openDataset",
      "openLab",
      "openModel",
      "pairedDifference",
      "parseBudget",
      "parseFormat",
      "parseFormats",
      "parsePin",
      "parsePlan",
      "planFormats",
      "protocols",
      "quantize",
      "quantizeWeight",
      "quantizers",
      "rewriteModel",
      "saveModel",
      "savePlan",
      "saveStatistics",
      "scoreLayers",
      "scoreModel",
      "scorers",
      "serializePlan",
      "spearman",
      "splitDataset",
      "statistics",
      "streamText",
      "targets",
      "uniformPlans",
      "version",
      "writeText",
    ]
  `);
});

test("registries are the extension points", () => {
  for (const registry of [api.scorers, api.allocators, api.quantizers, api.targets]) {
    for (const { summary, source } of Object.values(registry)) {
      expect(summary).not.toBe("");
      expect(source).not.toBe("");
    }
  }
});
