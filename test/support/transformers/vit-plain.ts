/**
 * Vision transformers as optimum exports them: patches by a Conv, a class token, pre-norm blocks, a classifier.
 * The image has the size of the position table, although every axis is declared open.
 */
import { attribute, lazyTensor, type Model, memoryTensor } from "../../../src/onnx/index.ts";
import { type EncoderOptions, encoderConfig, normEpsilon } from "./config.ts";
import { type EncoderModule, EncoderWeights, encoderModules } from "./encoder-weights.ts";
import { GraphWriter } from "./graph-writer.ts";
import { expand, reshape, sizeOf, transpose } from "./torch-shapes.ts";
import { matrixPart, randomTensor } from "./weights.ts";

export interface VitOptions extends EncoderOptions {
  /** Height and width of the image, a multiple of the patch. Default 32. */
  readonly image?: number;
  /** Default 8. */
  readonly patch?: number;
  /** Fixes all four axes of the input, with this batch. */
  readonly batch?: number;
}

/** pixel_values [batch, 3, image, image] → logits [batch, classes]. */
export function vitPlain(options: VitOptions = {}): Model {
  const { image = 32, patch = 8, batch, ...rest } = options;
  const config = encoderConfig({ classes: 10, ...rest });
  const { hidden, heads, dtype, seed } = config;
  const root = new GraphWriter({ opset: 17, irVersion: 8, dialect: "torch" });
  const open = ["batch_size", "num_channels", "height", "width"];
  root.builder
    .input("pixel_values", dtype, batch === undefined ? open : [batch, 3, image, image])
    .output("logits", dtype, [batch ?? "batch_size", config.classes]);
  const weights = new EncoderWeights(root, config);
  const random = (name: string, rows: number, columns: number, shape: readonly number[]) => {
    const part = { ...matrixPart(name, rows, columns), deviation: 1 / Math.sqrt(columns) };
    const tensor = randomTensor(name, dtype, seed, [part]);
    return root.tensor(lazyTensor(name, dtype, shape, () => tensor.bytes()));
  };

  const layerNorm = (key: string, x: string) => {
    const { scale, shift } = weights.norm(key);
    const attributes = { axis: attribute.int(-1), epsilon: attribute.float(normEpsilon) };
    return root
      .in(key.replaceAll(".", "/"))
      .op("LayerNormalization", [x, scale, shift], attributes);
  };
  const linear = (layer: number, name: EncoderModule, x: string) => {
    const writer = root.in(`encoder/layer.${layer}/${encoderModules[name].replaceAll(".", "/")}`);
    const product = writer.op("MatMul", [x, weights.weight(layer, name)]);
    return writer.op("Add", [weights.bias(layer, name), product]);
  };
  const attend = (layer: number, x: string) => {
    const writer = root.in(`encoder/layer.${layer}/attention/attention`);
    const width = hidden / heads;
    const split = (name: EncoderModule, order: readonly number[]) => {
      const flat = linear(layer, name, x);
      const sizes = [sizeOf(writer, flat, 0), sizeOf(writer, flat, 1), heads, width];
      return transpose(writer, reshape(writer, flat, sizes), order);
    };
    const product = writer.op("MatMul", [split("query", [0, 2, 1, 3]), split("key", [0, 2, 3, 1])]);
    const scores = writer.op("Div", [product, writer.float(Math.sqrt(width), dtype)]);
    const shares = writer.op("Softmax", [scores], { axis: attribute.int(-1) });
    const mixed = writer.op("MatMul", [shares, split("value", [0, 2, 1, 3])]);
    const turned = transpose(writer, mixed, [0, 2, 1, 3]);
    const sizes = [sizeOf(writer, turned, 0), sizeOf(writer, turned, 1), hidden];
    return linear(layer, "output", reshape(writer, turned, sizes));
  };

  const embeddings = root.in("embeddings");
  const kernelShape = [hidden, 3, patch, patch];
  const kernels = random("patch_embeddings.weight", hidden, 3 * patch * patch, kernelShape);
  const zero = memoryTensor("patch_embeddings.bias", "float32", [hidden], new Float32Array(hidden));
  const patches = embeddings
    .in("patch_embeddings/projection")
    .op(
      "Conv",
      dtype === "float32"
        ? ["pixel_values", kernels, root.tensor(zero)]
        : ["pixel_values", kernels],
      {
        kernel_shape: attribute.ints([patch, patch]),
        strides: attribute.ints([patch, patch]),
      },
    );
  const batches = sizeOf(embeddings, "pixel_values", 0);
  const rows = transpose(
    embeddings,
    reshape(embeddings, patches, [batches, hidden, -1]),
    [0, 2, 1],
  );
  const token = expand(embeddings, random("cls_token", 1, hidden, [1, 1, hidden]), [
    batches,
    -1,
    -1,
  ]);
  const all = embeddings.op("Concat", [token, rows], { axis: attribute.int(1) });
  const count = (image / patch) ** 2 + 1;
  const positions = random("position_embeddings", count, hidden, [1, count, hidden]);
  let x = embeddings.op("Add", [all, positions]);
  for (let layer = 0; layer < config.layers; layer++) {
    const stem = `encoder.layer.${layer}`;
    const block = root.in(`encoder/layer.${layer}`);
    const middle = block.op("Add", [attend(layer, layerNorm(`${stem}.layernorm_before`, x)), x]);
    const wide = linear(layer, "up", layerNorm(`${stem}.layernorm_after`, middle));
    const half = block.op("Mul", [wide, block.float(Math.SQRT1_2, dtype)]);
    const erf = block.op("Add", [block.op("Erf", [half]), block.float(1, dtype)]);
    const active = block.op("Mul", [block.op("Mul", [wide, erf]), block.float(0.5, dtype)]);
    x = block.op("Add", [linear(layer, "down", active), middle]);
  }
  const first = root.op("Gather", [layerNorm("layernorm", x), root.int(0)], {
    axis: attribute.int(1),
  });
  const { weight, bias } = weights.dense("classifier", config.classes);
  root.in("classifier").op("Gemm", [first, weight, bias], { transB: attribute.int(1) }, "logits");
  return root.model();
}
