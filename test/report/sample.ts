/** Reports made in code, as small or as deep as a test wants them. */
import { createRandom } from "../../src/core/random.ts";
import type {
  LanguageQualityReport,
  QuantizeReport,
  ReportedLayer,
} from "../../src/report/index.ts";

export interface SampleOptions {
  readonly blocks?: number;
  /** Layers before, in and after the blocks have such names. */
  readonly nameOf?: (block: number, role: string) => string;
  readonly change?: Partial<QuantizeReport>;
}

const roles = ["attn/q_proj", "attn/k_proj", "attn/v_proj", "mlp/up_proj", "mlp/down_proj"];
const widths = [2, 3, 4, 5, 6, 8];

/** A language model of an embedding and `blocks` blocks of five layers. */
export function sampleReport({
  blocks = 3,
  nameOf = (block, role) => `/model/layers.${block}/${role}/MatMul`,
  change = {},
}: SampleOptions = {}): QuantizeReport {
  const random = createRandom(7);
  const price = 4e-7;
  const layer = (name: string, block: string | null): ReportedLayer => {
    const bits = widths[random.integer(widths.length)];
    return {
      name,
      opType: "MatMul",
      weight: `${name}.weight`,
      shape: [128, 128],
      block,
      format: `int${bits}-b32`,
      bits,
      bytes: (128 * 128 * bits) / 8 + 1024,
      loss: 10 ** -bits * (0.5 + random.next()),
      sqnrDb: 6 * bits + random.next(),
      nextUpgrade: { format: `int${bits + 1}-b32`, lossPerByte: price * random.next() },
      lastDowngrade:
        bits === 2
          ? null
          : { format: `int${bits - 1}-b32`, lossPerByte: price * (1 + 4 * random.next()) },
      outliers: {
        weightPeak: 3 + random.next(),
        weightShare: 0.14,
        channelPeak: 2 + 5 * random.next(),
        inputPeak: 10 + 30 * random.next(),
      },
    };
  };
  const layers = [
    layer("/model/embed_tokens/Gather", null),
    ...Array.from({ length: blocks }, (_, block) =>
      roles.map((role) => layer(nameOf(block, role), `block ${block}`)),
    ).flat(),
  ];
  const names = layers.map(({ name }) => name);
  const weights = layers.length * 128 * 128;
  const weightBytes = layers.reduce((sum, { bytes }) => sum + bytes, 0);
  const loss = layers.reduce((sum, one) => sum + one.loss, 0);
  const drift = (at: number) => (at === 0 ? null : 0.001 * 1.2 ** (at / 3));
  return {
    version: 1,
    command: "quantize",
    commandLine: "quantize model.onnx -o model.q.onnx -b 4bpw --report report.html",
    bitloom: "0.1.0",
    environment: {
      node: "20.20.2",
      onnxRuntime: "1.30.0",
      platform: "linux-x64",
      threads: 2,
      peakMemoryBytes: 8e8,
    },
    model: { path: "models/model.onnx", bytes: weights * 4 + 50_000, sha256: "ab".repeat(32) },
    output: {
      path: "model.q.onnx",
      bytes: weightBytes + 50_000,
      files: ["model.q.onnx"],
      sha256: "cd".repeat(32),
    },
    preflight: {
      memoryBytes: 9e8,
      disk: { temporaryBytes: 0, checkpointBytes: 1e6, outputBytes: weightBytes },
      seconds: { calibrate: 2, score: 30, gate: 3, propagate: 6, evaluate: 4 },
      rows: { layer: names[0], rows: 32768, k: 128 },
    },
    options: {
      scorer: "measured-kl",
      allocator: "knapsack",
      quantizer: "gptq",
      target: "portable",
      budget: "4bpw",
      formats: ["int2-b32", "int4-b32"],
      pins: [],
      seed: 0,
      calibrationData: "calibration.txt: 1000 tokens",
      calibrationFingerprint: "12".repeat(32),
      evaluationFingerprint: "34".repeat(32),
    },
    budgetBytes: weightBytes + 100,
    weightBytes,
    floatWeightBytes: weights * 4,
    weights,
    bitsPerWeight: (8 * weightBytes) / weights,
    scoreUnit: "nats per token",
    quality: sampleQuality(),
    bounds: { maxKlDivergence: 0.1, maxPerplexityIncrease: null },
    worstLayer: { name: names[1], sqnrDb: 11 },
    gate: {
      written: "plan",
      unit: "nats per token",
      planLoss: 0.047,
      uniform: { format: "int3-b32", bytes: weightBytes - 10, loss: 0.089 },
      samples: 32,
    },
    decision: {
      marginalPrice: price,
      frontier: Array.from({ length: 60 }, (_, at) => ({
        bytes: Math.round((weights * (2.2 + at * 0.1)) / 8),
        loss: loss * 10 ** (-at / 20),
      })),
      uniform: widths.flatMap((bits) =>
        [32, 64, 128].map((block) => ({
          format: `int${bits}-b${block}`,
          bytes: Math.round((weights * (bits + 16 / block)) / 8),
          loss: 3 * 10 ** (-bits * 0.6) * (1 + block / 128),
        })),
      ),
      written: { bytes: weightBytes, loss: loss / 4 },
    },
    scores: {
      format: "int3-b32",
      scorers: ["measured-kl", "weight-error", "output-error"].map((name, scorer) => ({
        name,
        unit: "nats per token",
        losses: names.map(() => random.next()),
        rankCorrelation: scorer === 0 ? 1 : 0.5 - scorer / 10,
      })),
    },
    propagation: {
      correction: "auto",
      resumed: 0,
      memoryBytes: 2e8,
      diskBytes: 0,
      loss: { sequential: 0.039, oneShot: 0.047 },
      written: "sequential",
      layers: names.map((name, at) => ({
        layer: name,
        relativeDrift: drift(at),
        alpha: at === 0 ? 0 : 0.5,
        damping: at === 0 ? 0 : 0.01,
        gain: null,
      })),
    },
    errorGrowth: {
      samples: 8,
      layers: names.map((name, at) => {
        const sequential = drift(at);
        return { layer: name, sequential, oneShot: sequential && sequential * 1.3 };
      }),
    },
    layers,
    skipped: [
      { name: "/attn/MatMul", opType: "MatMul", reason: "both operands are computed at run time" },
      { name: "/attn/MatMul_1", opType: "MatMul", reason: 'table "x" is computed at run time' },
    ],
    notices: [
      { code: "damping-raised", layer: names[1], message: `Damping of "${names[1]}" was raised.` },
      { code: "damping-raised", layer: names[2], message: `Damping of "${names[2]}" was raised.` },
      { code: "planned-with-rtn", message: "Plans are compared with weights rounded to nearest." },
    ],
    timings: { open: 70, calibrate: 3000, score: 20_000, gate: 2500, propagate: 5000 },
    ...change,
  };
}

/** @param shift - added to the KL divergence. */
export function sampleQuality(shift = 0): LanguageQualityReport {
  const estimate = (value: number, half: number) => ({
    value,
    low: value - half,
    high: value + half,
  });
  const kl = 0.0352 + shift;
  return {
    kind: "language",
    data: "evaluation.txt: 132298 tokens, 516 windows of 256",
    protocol: "windows of 256",
    windows: 128,
    tokens: 32_768,
    perplexity: { float: 13.52, quantized: 13.96 },
    klDivergence: kl,
    klDivergence999: 0.68,
    topAgreement: 0.887,
    intervals: {
      perplexityFloat: estimate(13.52, 0.57),
      perplexityQuantized: estimate(13.96, 0.59),
      nllIncrease: estimate(0.0317, 0.003),
      klDivergence: estimate(kl, 0.001),
      klDivergence999: estimate(0.68, 0.08),
      topAgreement: estimate(0.887, 0.004),
    },
  };
}

/** A model of one layer that is measured by its output. */
export function smallReport(): QuantizeReport {
  const base = sampleReport({ blocks: 0 });
  const [only] = base.layers;
  return {
    ...base,
    scoreUnit: "relative squared error",
    quality: {
      kind: "outputs",
      data: "random inputs",
      samples: 16,
      outputs: [{ name: "y", sqnrDb: 31.5, cosine: 0.99962 }],
    },
    propagation: null,
    errorGrowth: null,
    scores: null,
    preflight: null,
    notices: [],
    skipped: [],
    layers: [{ ...only, block: null }],
  };
}

/** Another run on the first sample's model: one layer has more bits. */
export function secondReport(): QuantizeReport {
  const first = sampleReport();
  return {
    ...first,
    output: { ...first.output, path: "other.onnx", bytes: first.output.bytes + 2048 },
    weightBytes: first.weightBytes + 2048,
    options: { ...first.options, budget: "4.2bpw" },
    layers: first.layers.map((layer, at) =>
      at === 3 ? { ...layer, format: "int8-b32", bits: 8, bytes: layer.bytes + 2048 } : layer,
    ),
  };
}

/** What a run with a saved plan leaves: nothing was decided, nothing compared. */
export function appliedReport(): QuantizeReport {
  const base = sampleReport();
  return {
    ...base,
    command: "apply",
    gate: null,
    decision: null,
    scores: null,
    propagation: null,
    errorGrowth: null,
    preflight: null,
    bounds: { maxKlDivergence: null, maxPerplexityIncrease: null },
    layers: base.layers.map((layer) => ({ ...layer, nextUpgrade: null, lastDowngrade: null })),
  };
}
