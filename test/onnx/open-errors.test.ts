import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { BitloomError } from "../../src/core/errors.ts";
import { openModel } from "../../src/onnx/index.ts";
import { graph } from "../support/graph-builder.ts";
import {
  entry,
  type Field,
  message,
  modelProto,
  nodeProto,
  packed,
  tensorProto,
  valueInfo,
} from "./raw-message.ts";

const folder = await mkdtemp(join(tmpdir(), "bitloom-errors-"));
afterAll(() => rm(folder, { recursive: true }));

async function failure(pathOrBytes: string | Uint8Array): Promise<BitloomError<"bad-model">> {
  const error = await openModel(pathOrBytes).then(
    () => new Error("opened"),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(BitloomError);
  expect(error).toMatchObject({ code: "bad-model" });
  return error as BitloomError<"bad-model">;
}

const opset = (version: number): Field => [8, message([2, version])];
const floats = (count: number): Field => [9, new Uint8Array(4 * count)];
const tensor = (...args: Parameters<typeof tensorProto>): Uint8Array =>
  modelProto([5, tensorProto(...args)]);

describe("what is no model", () => {
  test("missing path, folder, empty file, text, random bytes", async () => {
    expect((await failure(join(folder, "none.onnx"))).message).toMatch(/no such file/);
    expect((await failure(folder)).message).toMatch(/expected a file/);
    await writeFile(join(folder, "empty.onnx"), "");
    expect((await failure(join(folder, "empty.onnx"))).message).toMatch(/is empty/);
    await writeFile(join(folder, "text.onnx"), "This is just a text, no model.\n");
    expect((await failure(join(folder, "text.onnx"))).detail.file).toBe(join(folder, "text.onnx"));
    expect(
      (await failure(Uint8Array.from({ length: 500 }, (_, i) => (i * 101) % 251))).detail.file,
    ).toBe("(in memory)");
  });

  test("no graph, two graphs, no IR version", async () => {
    expect((await failure(message([1, 8], opset(18)))).message).toMatch(/has no graph/);
    expect((await failure(message([1, 8], [7, message()], [7, message()]))).message).toMatch(
      /two graphs/,
    );
    expect((await failure(message([7, message([2, "g"])]))).message).toMatch(/no IR version/);
  });

  test("every truncation of a model", async () => {
    const bytes = await graph()
      .input("x", "float32", [2, 2])
      .initializer("w", [2, 2], new Float32Array(4))
      .node("MatMul", ["x", "w"], ["y"])
      .output("y", "float32", [2, 2])
      .bytes();
    let refused = 0;
    for (let length = 0; length < bytes.length; length++) {
      const error = await openModel(bytes.subarray(0, length)).catch((reason: unknown) => reason);
      if (error instanceof BitloomError && error.code === "bad-model") refused++;
      // Cutting exactly before an opset import of an unused domain leaves a valid model.
      else expect(error).not.toBeInstanceOf(Error);
    }
    expect(refused).toBeGreaterThan(bytes.length - 4);
    expect((await failure(bytes.subarray(0, 60))).message).toMatch(/truncated/);
  });

  test("a length beyond the file", async () => {
    expect((await failure(Uint8Array.of(0x3a, 0xff, 0xff, 0xff, 0xff, 0x07))).message).toMatch(
      /left/,
    );
  });
});

describe("opsets", () => {
  const relu = nodeProto("Relu", ["x"], ["y"]);
  const body: Field = [7, message([1, relu], [11, valueInfo("x")], [12, valueInfo("y")])];
  test("missing, zero and far too new", async () => {
    expect((await failure(message([1, 8], body))).message).toMatch(/imports no opset of ai.onnx/);
    expect((await failure(message([1, 8], opset(0), body))).message).toMatch(/expected 1 to 30/);
    expect((await failure(message([1, 8], opset(31), body))).message).toMatch(/opset 31/);
  });
  test("IR 1 and 2 imply opset 1, and ai.onnx is the default domain", async () => {
    expect((await openModel(message([1, 2], body))).opsets.get("")).toBe(1);
    const named = message([1, 8], [8, message([1, "ai.onnx"], [2, 13])], body);
    expect((await openModel(named)).opsets.get("")).toBe(13);
  });
});

describe("graphs", () => {
  const ends: Field[] = [
    [11, valueInfo("x")],
    [12, valueInfo("y")],
  ];
  const broken = async (...nodes: Uint8Array[]) =>
    failure(modelProto(...nodes.map((node): Field => [1, node]), ...ends));

  test("a value nobody produces names node and value", async () => {
    const error = await broken(nodeProto("Add", ["x", "gone"], ["y"], [3, "sum"]));
    expect(error.message).toMatch(/node "sum" reads "gone"/);
    expect(error.detail.where).toBe("sum");
  });
  test("a value produced twice, by nodes, inputs or initializers", async () => {
    const relu = nodeProto("Relu", ["x"], ["y"]);
    expect((await broken(relu, relu)).message).toMatch(
      /"Relu_1" produces "y", which node "Relu_0"/,
    );
    expect((await broken(nodeProto("Relu", ["x"], ["x"]), relu)).message).toMatch(/produces "x"/);
    const twice = tensorProto("w", 1, [1], floats(1));
    expect((await failure(modelProto([5, twice], [5, twice]))).message).toMatch(/two initializers/);
    expect((await failure(modelProto([11, valueInfo("x")], [11, valueInfo("x")]))).message).toMatch(
      /twice/,
    );
  });
  test("a cycle names a node on it", async () => {
    const error = await broken(
      nodeProto("Relu", ["x"], ["y"], [3, "fine"]),
      nodeProto("Add", ["x", "b"], ["a"], [3, "one"]),
      nodeProto("Relu", ["a"], ["b"], [3, "two"]),
    );
    expect(["one", "two"]).toContain(error.detail.where);
  });
  test("an output nobody produces", async () => {
    expect((await broken()).message).toMatch(/nothing produces its output "y"/);
  });
  test("a captured value nobody produces", async () => {
    const inner = message([1, nodeProto("Relu", ["gone"], ["r"])], [12, valueInfo("r")]);
    const attribute = message([1, "then_branch"], [6, inner], [20, 5]);
    const error = await broken(nodeProto("If", ["x"], ["y"], [5, attribute], [3, "choose"]));
    expect(error.message).toMatch(/node "choose" reads "gone"/);
  });
  test("subgraphs nested without end", async () => {
    let inner: Uint8Array = message([2, "leaf"]);
    for (let depth = 0; depth < 200; depth++) {
      inner = message([1, nodeProto("If", [], [], [5, message([1, "b"], [6, inner], [20, 5])])]);
    }
    expect(
      (await failure(modelProto([1, nodeProto("If", [], [], [5, message([1, "b"], [6, inner])])])))
        .message,
    ).toMatch(/nests subgraphs deeper than 32/);
    const fn = message([1, "f"], [7, nodeProto("If", [], [], [5, message([6, inner])])]);
    expect((await failure(message([1, 8], opset(18), [7, message()], [25, fn]))).message).toMatch(
      /nests messages/,
    );
  });
});

describe("tensors", () => {
  test("bytes that do not fit the dims", async () => {
    expect((await failure(tensor("w", 1, [2, 3], floats(5)))).message).toMatch(
      /expected 24 bytes.*got 20/,
    );
    expect((await failure(tensor("w", 1, [2], [4, new Uint8Array(4)]))).message).toMatch(
      /expected 8 bytes/,
    );
    expect((await failure(tensor("w", 7, [3], [7, packed([1, 2])]))).message).toMatch(/got 16/);
    expect((await failure(tensor("w", 1, [2]))).message).toMatch(/got 0/);
    expect((await failure(tensor("w", 8, [2], [6, "one"]))).message).toMatch(/2 strings, got 1/);
  });
  test("impossible dims and types", async () => {
    expect((await failure(tensor("w", 1, [-1]))).message).toMatch(/got -1/);
    expect((await failure(tensor("w", 1, [2n ** 40n, 2n ** 40n]))).message).toMatch(
      /more elements/,
    );
    expect((await failure(tensor("w", 1, new Array(65).fill(1)))).message).toMatch(
      /more than 64 dims/,
    );
    expect((await failure(tensor("w", 99, [1], floats(1)))).message).toMatch(/type number 99/);
    expect((await failure(tensor("w", 0, [1], floats(1)))).message).toMatch(/type number 0/);
    expect((await failure(modelProto([11, valueInfo("x", 99)]))).message).toMatch(/type number 99/);
  });
  test("data in the wrong field, in two fields, in segments", async () => {
    expect((await failure(tensor("w", 1, [1], [7, packed([1])]))).message).toMatch(
      /not in the field/,
    );
    expect((await failure(tensor("w", 1, [1], floats(1), [4, new Uint8Array(4)]))).message).toMatch(
      /twice/,
    );
    expect((await failure(tensor("w", 1, [1], floats(1), [3, message([1, 0])]))).message).toMatch(
      /segments/,
    );
  });
  test("inside Constant nodes and functions as well", async () => {
    const bad = message([1, "value"], [5, tensorProto("c", 1, [3], floats(1))], [20, 4]);
    const node = nodeProto("Constant", [], ["c"], [5, bad]);
    expect((await failure(modelProto([1, node]))).message).toMatch(/expected 12 bytes/);
    const fn = message([1, "f"], [10, "d"], [7, node]);
    expect((await failure(message([1, 8], opset(18), [7, message()], [25, fn]))).message).toMatch(
      /expected 12/,
    );
  });
});

describe("external data", () => {
  const home = join(folder, "home");
  const open = async (location: string, ...others: Field[]) => {
    await mkdir(home, { recursive: true });
    await writeFile(join(home, "w.data"), new Uint8Array(100));
    await writeFile(join(folder, "secret.data"), new Uint8Array(100));
    const fields: Field[] = [[13, entry("location", location)], ...others, [14, 1]];
    await writeFile(join(home, "m.onnx"), tensor("w", 1, [10], ...fields));
    return failure(join(home, "m.onnx"));
  };

  test("a missing file", async () => {
    expect((await open("none.data")).message).toMatch(/tensor "w".*no such file/);
  });
  test("locations that leave the folder", async () => {
    expect((await open("../secret.data")).message).toMatch(/"\.\."/);
    expect((await open(join(folder, "secret.data"))).message).toMatch(/absolute/);
    expect((await open("C:\\secret.data")).message).toMatch(/absolute/);
    expect((await open("a/../../secret.data")).message).toMatch(/"\.\."/);
    expect((await open("")).message).toMatch(/empty/);
    await symlink(join(folder, "secret.data"), join(home, "link.data"));
    expect((await open("link.data")).message).toMatch(/symbolic link/);
    await symlink(folder, join(home, "up"));
    expect((await open("up/secret.data")).message).toMatch(/symbolic link/);
    expect((await open(".")).message).toMatch(/folder/);
  });
  test("ranges beyond the file, other lengths, nonsense numbers, no location", async () => {
    expect((await open("w.data", [13, entry("offset", "64")])).message).toMatch(
      /bytes 64 to 104 lie beyond/,
    );
    expect((await open("w.data", [13, entry("length", "39")])).message).toMatch(
      /expected 40 bytes/,
    );
    expect((await open("w.data", [13, entry("offset", "-4")])).message).toMatch(/"-4"/);
    expect((await open("w.data", [13, entry("offset", "99999999999999999999")])).message).toMatch(
      /no byte count/,
    );
    await writeFile(join(home, "n.onnx"), tensor("w", 1, [10], [14, 1]));
    expect((await failure(join(home, "n.onnx"))).message).toMatch(/no location/);
  });
  test("a model opened from bytes has no folder", async () => {
    const bytes = tensor("w", 1, [10], [13, entry("location", "w.data")], [14, 1]);
    expect((await failure(bytes)).message).toMatch(/opened from bytes/);
  });
  test("a download cache that links model and data into one folder is fine", async () => {
    const cache = join(folder, "cache");
    await mkdir(join(cache, "blobs"), { recursive: true });
    await mkdir(join(cache, "snapshot"));
    const bytes = tensor("w", 1, [10], [13, entry("location", "w.data")], [14, 1]);
    await writeFile(join(cache, "blobs/1"), bytes);
    await writeFile(join(cache, "blobs/2"), new Uint8Array(40));
    await symlink("../blobs/1", join(cache, "snapshot/m.onnx"));
    await symlink("../blobs/2", join(cache, "snapshot/w.data"));
    expect((await openModel(join(cache, "snapshot/m.onnx"))).graph.initializers.size).toBe(1);
  });
});

test("a file that changes after opening is refused, not misread", async () => {
  const path = join(folder, "changing.onnx");
  await writeFile(path, tensor("w", 1, [1e5], floats(1e5)));
  const model = await openModel(path);
  await writeFile(path, tensor("w", 1, [9e4], floats(9e4)));
  const read = model.graph.initializers.get("w")?.bytes();
  await expect(read).rejects.toMatchObject({ code: "bad-model", message: /changed since/ });
});
