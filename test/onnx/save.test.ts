import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Event } from "../../src/core/events.ts";
import {
  attribute,
  editModel,
  encodeModel,
  lazyTensor,
  type Model,
  memoryTensor,
  openModel,
  saveModel,
} from "../../src/onnx/index.ts";
import { graph } from "../support/graph-builder.ts";
import { entry, message, modelProto, nodeProto, tensorProto, valueInfo } from "./raw-message.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitloom-save-"));
});
afterEach(() => rm(folder, { recursive: true }));

const at = (name: string): string => join(folder, name);
const ramp = (length: number, start = 0): Float32Array =>
  Float32Array.from({ length }, (_, i) => start + i);

const tensors = {
  tiny: ramp(3),
  small: ramp(300, 5),
  large: ramp(20000, 7),
  other: ramp(20001, 9),
};

function model(): Model {
  const builder = graph().input("x", "float32", [1]);
  for (const [name, data] of Object.entries(tensors))
    builder.initializer(name, [data.length], data);
  return builder.output("tiny", "float32", [3]).model();
}

async function checkTensors(saved: Model): Promise<void> {
  for (const [name, data] of Object.entries(tensors)) {
    const bytes = await saved.graph.initializers.get(name)?.bytes();
    expect(new Float32Array(bytes?.slice().buffer ?? new ArrayBuffer())).toEqual(data);
  }
}

/** A file with external data: an initializer, one inside a Constant node, and one sharing its bytes. */
async function externalModel(): Promise<string> {
  const data = new Uint8Array(tensors.small.buffer);
  const external = (name: string, offset: number) =>
    tensorProto(
      name,
      1,
      [300],
      [12, "documentation"],
      [13, entry("location", "data/weights.bin")],
      [13, entry("offset", String(offset))],
      [14, 1],
    );
  const constant = message([1, "value"], [5, external("", 2000)], [20, 4]);
  await mkdir(at("data"));
  await writeFile(at("data/weights.bin"), Buffer.concat([data, new Uint8Array(800), data]));
  await writeFile(
    at("external.onnx"),
    modelProto(
      [1, nodeProto("Constant", [], ["c"], [5, constant])],
      [1, nodeProto("Add", ["w", "c"], ["h"])],
      [1, nodeProto("Add", ["h", "tied"], ["y"])],
      [5, external("w", 0)],
      [5, external("tied", 0)],
      [12, valueInfo("y")],
    ),
  );
  return at("external.onnx");
}

async function constantBytes(view: Model): Promise<Uint8Array | undefined> {
  const value = view.graph.nodes[0].attributes.get("value");
  return value?.type === "tensor" ? value.value.bytes() : undefined;
}

describe("one file", () => {
  test("holds what encodeModel gives, and tells its progress", async () => {
    const events: Event[] = [];
    const result = await saveModel(model(), at("m.onnx"), {
      onEvent: (event) => events.push(event),
    });
    const bytes = await encodeModel(model());
    expect(result).toEqual({ files: [at("m.onnx")], bytes: bytes.length });
    expect(new Uint8Array(await readFile(at("m.onnx")))).toEqual(bytes);
    expect(events.at(-1)).toMatchObject({
      type: "progress",
      stage: "save",
      done: bytes.length,
      total: bytes.length,
    });
    await checkTensors(await openModel(at("m.onnx")));
    expect(await readdir(folder)).toEqual(["m.onnx"]);
  });
});

describe("external data", () => {
  test("large tensors move out, aligned and in order; small ones stay", async () => {
    const result = await saveModel(model(), at("m.onnx"), { externalData: "always" });
    expect(result.files).toEqual([at("m.onnx"), at("m.onnx.data")]);
    const onnx = await readFile(at("m.onnx"));
    const data = await readFile(at("m.onnx.data"));
    expect(result.bytes).toBe(onnx.length + data.length);
    // small: 1200 bytes at 0; large: 80000 at the next page; other at the page after that.
    const large = 4096;
    const other = Math.ceil((large + 80000) / 4096) * 4096;
    expect(data.length).toBe(other + 80004);
    expect(data.subarray(large, large + 80000).equals(Buffer.from(tensors.large.buffer))).toBe(
      true,
    );
    const saved = await openModel(at("m.onnx"));
    expect(saved.fileBytes).toBe(result.bytes);
    await checkTensors(saved);
  });

  test("comes back inline", async () => {
    await saveModel(model(), at("m.onnx"), { externalData: "always" });
    await saveModel(await openModel(at("m.onnx")), at("inline.onnx"), { externalData: "never" });
    await checkTensors(await openModel(new Uint8Array(await readFile(at("inline.onnx")))));
    expect(await readdir(folder)).toEqual(["inline.onnx", "m.onnx", "m.onnx.data"]);
  });

  test("an unedited model is copied with its files, byte for byte", async () => {
    const source = await openModel(await externalModel());
    await mkdir(at("copy"));
    const result = await saveModel(source, at("copy/renamed.onnx"));
    expect(result.files).toEqual([at("copy/renamed.onnx"), at("copy/data/weights.bin")]);
    for (const [from, to] of [
      ["external.onnx", "copy/renamed.onnx"],
      ["data/weights.bin", "copy/data/weights.bin"],
    ]) {
      expect((await readFile(at(from))).equals(await readFile(at(to)))).toBe(true);
    }
    expect((await openModel(at("copy/renamed.onnx"))).fileBytes).toBe(source.fileBytes);
  });

  test("a copy in the same folder shares the data that is there", async () => {
    const source = await openModel(await externalModel());
    expect((await saveModel(source, at("beside.onnx"))).files).toEqual([at("beside.onnx")]);
    expect((await openModel(at("beside.onnx"))).graph.initializers.size).toBe(2);
  });

  test("an edited model takes its data along, inline or into one new file, tied tensors once", async () => {
    const expected = new Uint8Array(tensors.small.buffer);
    for (const externalData of ["auto", "always"] as const) {
      const path = await externalModel();
      const editor = editModel(await openModel(path));
      editor.setMetadata("edited", "yes");
      const target = at(`${externalData}.onnx`);
      const result = await saveModel(editor.commit(), target, { externalData });
      const inline = await encodeModel(editor.commit());
      await rm(path);
      await rm(at("data"), { recursive: true });
      expect(result.files.length).toBe(externalData === "auto" ? 1 : 2);
      for (const saved of [await openModel(target), await openModel(inline)]) {
        for (const name of ["w", "tied"])
          expect(await saved.graph.initializers.get(name)?.bytes()).toEqual(expected);
        expect(await constantBytes(saved)).toEqual(expected);
      }
      expect(inline.length).toBeGreaterThan(3 * 1200);
      expect(Buffer.from(await readFile(target)).includes("documentation")).toBe(true);
      if (externalData === "always")
        expect((await readFile(`${target}.data`)).length).toBe(1216 + 1200);
    }
  });

  test("a rebuilt node brings its external tensor inline", async () => {
    const source = await openModel(await externalModel());
    const [constant] = source.graph.nodes;
    const editor = editModel(source);
    editor.removeNode(constant.name);
    editor.addNodes([
      { ...constant, name: "copy", attributes: Object.fromEntries(constant.attributes) },
    ]);
    const bytes = await encodeModel(editor.commit());
    expect(await constantBytes(await openModel(bytes))).toEqual(
      new Uint8Array(tensors.small.buffer),
    );
  });

  test("3 GB of data are opened without being read, and one tensor alone is read", async () => {
    const length = 750e6;
    await writeFile(at("big.data"), "");
    await truncate(at("big.data"), 4 * length + 64);
    const place = (offset: number) => [
      [13, entry("location", "big.data")] as const,
      [13, entry("offset", String(offset))] as const,
      [14, 1] as const,
    ];
    await writeFile(
      at("big.onnx"),
      modelProto(
        [5, tensorProto("big", 1, [length], ...place(0))],
        [5, tensorProto("tail", 1, [16], ...place(4 * length))],
        [12, valueInfo("tail")],
      ),
    );
    const before = process.memoryUsage().arrayBuffers;
    const big = await openModel(at("big.onnx"));
    expect(big.graph.initializers.get("big")?.byteLength).toBe(3e9);
    expect((await big.graph.initializers.get("tail")?.bytes())?.length).toBe(64);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50e6);
    const editor = editModel(big);
    editor.setMetadata("a", "b");
    await expect(encodeModel(editor.commit())).rejects.toMatchObject({
      code: "output",
      message: /external data/,
    });
    await expect(
      saveModel(editor.commit(), at("n.onnx"), { externalData: "never" }),
    ).rejects.toThrow(/2147483647/);
  });

  test("a model with more than 2 GB inline is indexed without reading it", async () => {
    const length = 3e9;
    const header = (size: number, field: number): Uint8Array => {
      const lengths = [field * 8 + 2];
      for (let rest = size; ; rest = Math.floor(rest / 128)) {
        lengths.push(rest >= 128 ? (rest % 128) + 128 : rest);
        if (rest < 128) return Uint8Array.from(lengths);
      }
    };
    const tail = message([8, message([2, 18])], [1, 8]);
    const before = Buffer.concat([message([1, length], [2, 2], [8, "w"]), header(length, 9)]);
    const tensor = Buffer.concat([header(before.length + length, 5), before]);
    const start = Buffer.concat([header(tensor.length + length, 7), tensor]);
    await writeFile(at("huge.onnx"), start);
    await truncate(at("huge.onnx"), start.length + length);
    await writeFile(at("huge.onnx"), tail, { flag: "a" });
    const memory = process.memoryUsage().arrayBuffers;
    const huge = await openModel(at("huge.onnx"));
    expect(huge.graph.initializers.get("w")?.byteLength).toBe(length);
    expect(process.memoryUsage().arrayBuffers - memory).toBeLessThan(50e6);
  });
});

describe("refusals leave everything as it was", () => {
  const code = (promise: Promise<unknown>) =>
    expect(promise).rejects.toMatchObject({ code: "output" });

  test("existing files, without force", async () => {
    await writeFile(at("m.onnx"), "mine");
    await code(saveModel(model(), at("m.onnx")));
    expect(await readFile(at("m.onnx"), "utf8")).toBe("mine");
    await saveModel(model(), at("m.onnx"), { force: true });
    await checkTensors(await openModel(at("m.onnx")));
    await writeFile(at("n.onnx.data"), "mine");
    await code(saveModel(model(), at("n.onnx"), { externalData: "always" }));
    expect(await readFile(at("n.onnx.data"), "utf8")).toBe("mine");
    expect((await readdir(folder)).sort()).toEqual(["m.onnx", "n.onnx.data"]);
  });

  test("the model's own file and data, under any name, even with force", async () => {
    const path = await externalModel();
    await symlink(path, at("link.onnx"));
    const source = await openModel(path);
    const edited = editModel(source);
    edited.setMetadata("a", "b");
    for (const target of ["external.onnx", "link.onnx", "data/weights.bin"]) {
      for (const candidate of [source, edited.commit()]) {
        await code(saveModel(candidate, at(target), { force: true }));
      }
    }
    expect((await openModel(path)).fileBytes).toBe(source.fileBytes);
  });

  test("folders that are missing or in the way", async () => {
    await code(saveModel(model(), at("none/m.onnx")));
    await mkdir(at("m.onnx"));
    await code(saveModel(model(), at("m.onnx"), { force: true }));
    expect(await readdir(folder)).toEqual(["m.onnx"]);
  });

  test("a failing tensor, in the middle of writing", async () => {
    const builder = graph().tensor(memoryTensor("fine", "float32", [20000], tensors.large));
    builder.tensor(
      lazyTensor("full", "float32", [20000], async () => {
        throw Object.assign(new Error("ENOSPC: no space left on device, write"), {
          code: "ENOSPC",
        });
      }),
    );
    const failing = builder.output("fine", "float32").model();
    for (const externalData of ["never", "always"] as const) {
      await code(saveModel(failing, at("m.onnx"), { externalData }));
    }
    expect(await readdir(folder)).toEqual([]);
  });

  test("a signal", async () => {
    const controller = new AbortController();
    const save = saveModel(model(), at("m.onnx"), {
      externalData: "always",
      signal: controller.signal,
      onEvent: () => controller.abort(),
    });
    await expect(save).rejects.toMatchObject({ code: "aborted" });
    expect(await readdir(folder)).toEqual([]);
  });

  test("a data file that cannot be put in place takes nothing with it", async () => {
    const source = await openModel(await externalModel());
    await mkdir(at("copy"));
    await writeFile(at("copy/data"), "a file where a folder belongs");
    await code(saveModel(source, at("copy/m.onnx")));
    expect(await readdir(at("copy"))).toEqual(["data"]);
  });
});

test("attributes of every kind survive a round trip through disk", async () => {
  const built = graph()
    .node("Op", [], ["y"], {
      a: attribute.tensor(memoryTensor("t", "int4", [3], Uint8Array.of(0x21, 0x03))),
    })
    .output("y")
    .model();
  await saveModel(built, at("a.onnx"));
  const value = (await openModel(at("a.onnx"))).graph.nodes[0].attributes.get("a");
  expect(value).toMatchObject({
    type: "tensor",
    value: { dtype: "int4", shape: [3], byteLength: 2 },
  });
});
