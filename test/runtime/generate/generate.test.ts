import { describe, expect, test } from "vitest";
import type { DeclaredInput } from "../../../src/core/language-model.ts";
import {
  type GeneratedToken,
  type GenerateOptions,
  generateTokens,
} from "../../../src/runtime/index.ts";
import { type FakeOptions, type FakeSession, fakeSession, greedy } from "./fake-session.ts";

const prompt = [3, 1, 4, 1, 5];

async function generate(
  session: FakeSession,
  options: Partial<GenerateOptions> = {},
  ids: readonly number[] = prompt,
): Promise<number[]> {
  const tokens: number[] = [];
  for await (const token of generateTokens(session, ids, { maxNewTokens: 12, ...options })) {
    tokens.push(token);
  }
  return tokens;
}

const int64 = (name: string, shape: DeclaredInput["shape"]): DeclaredInput => ({
  name,
  dtype: "int64",
  shape,
});
const row = ["batch", "length"];
const numbers = (session: FakeSession, run: number, name: string) =>
  Array.from(session.runs[run][name].data as BigInt64Array, Number);

describe("every form of graph gives the same tokens", () => {
  const mask = int64("attention_mask", row);
  const forms: readonly (readonly [string, FakeOptions])[] = [
    ["no caches", {}],
    ["fed caches", { caches: "fed" }],
    ["internal caches", { caches: "internal" }],
    ["caches named past_3 and present_3", { caches: "fed", names: ["past_3", "present_3"] }],
    ["caches paired by place", { caches: "fed", names: ["past.a", "cache_out"] }],
    ["masks and positions", { caches: "fed", inputs: [mask, int64("position_ids", row)] }],
    ["logits to keep", { caches: "fed", inputs: [int64("num_logits_to_keep", [])] }],
    ["ids of rank 1", { ids: ["sequence"] }],
    ["int32 ids", { idsType: "int32" }],
    ["float16 logits and caches", { caches: "fed", logits: "float16" }],
    ["a fixed length", { ids: [1, 24], inputs: [mask, int64("num_logits_to_keep", [1])] }],
    ["one token a run", { caches: "fed", ids: [1, 1] }],
  ];
  test.each(forms)("%s", async (_, form) => {
    expect(await generate(fakeSession(form))).toEqual(greedy(prompt, 12));
  });
});

describe("feeds", () => {
  const inputs = [
    int64("attention_mask", row),
    int64("position_ids", row),
    int64("token_type_ids", row),
    { name: "use_cache_branch", dtype: "bool", shape: [1] } as const,
    int64("cache_position", ["sequence"]),
    int64("logits_to_keep", []),
  ];

  test("with caches: the prompt once, then one token with the mask over all", async () => {
    const session = fakeSession({ caches: "fed", inputs });
    const tokens = await generate(session, { maxNewTokens: 3 });
    expect(numbers(session, 0, "input_ids")).toEqual(prompt);
    expect(numbers(session, 0, "attention_mask")).toEqual([1, 1, 1, 1, 1]);
    expect(numbers(session, 0, "position_ids")).toEqual([0, 1, 2, 3, 4]);
    expect(numbers(session, 0, "use_cache_branch")).toEqual([0]);
    expect(session.runs[0]["past_key_values.0.key"].dims).toEqual([1, 1, 0, 1]);
    expect(numbers(session, 2, "input_ids")).toEqual([tokens[1]]);
    expect(numbers(session, 2, "attention_mask")).toEqual([1, 1, 1, 1, 1, 1, 1]);
    expect(numbers(session, 2, "position_ids")).toEqual([6]);
    expect(numbers(session, 2, "cache_position")).toEqual([6]);
    expect(numbers(session, 2, "token_type_ids")).toEqual([0]);
    expect(numbers(session, 2, "use_cache_branch")).toEqual([1]);
    expect(numbers(session, 2, "logits_to_keep")).toEqual([1]);
    expect(session.runs[2].logits_to_keep.dims).toEqual([]);
    expect(session.fetched[2]).toEqual(["logits", "present.0.key"]);
  });

  test("without caches: the whole sequence", async () => {
    const session = fakeSession({ inputs: [int64("position_ids", row)] });
    const tokens = await generate(session, { maxNewTokens: 3 });
    expect(numbers(session, 2, "input_ids")).toEqual([...prompt, tokens[0], tokens[1]]);
    expect(numbers(session, 2, "position_ids")).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  test("of a fixed length: padding on the right, out of the mask", async () => {
    const session = fakeSession({ ids: [1, 8], inputs: [int64("attention_mask", [1, 8])] });
    await generate(session, { maxNewTokens: 1 });
    expect(numbers(session, 0, "input_ids")).toEqual([...prompt, 0, 0, 0]);
    expect(numbers(session, 0, "attention_mask")).toEqual([1, 1, 1, 1, 1, 0, 0, 0]);
  });

  test("states beside internal caches are fed and fetched", async () => {
    const fake = fakeSession({ caches: "internal" });
    const state = { name: "past_conv.0", dtype: "float32", shape: ["batch", 2, 3] } as const;
    const session: FakeSession = {
      ...fake,
      inputMetadata: [...fake.inputMetadata, state],
      outputNames: ["present_conv.0", "logits"],
      run: async (feeds, fetches) => ({
        ...(await fake.run(feeds, fetches)),
        "present_conv.0": {
          type: "float32",
          dims: [1, 2, 3],
          data: new Float32Array(6).fill(fake.runs.length),
        },
      }),
    };
    expect(await generate(session)).toEqual(greedy(prompt, 12));
    const fed = session.runs.map((feeds) => (feeds["past_conv.0"].data as Float32Array)[0]);
    expect(fed.slice(0, 4)).toEqual([0, 1, 2, 3]);
    expect(session.fetched[0]).toEqual(["logits", "present_conv.0"]);
  });

  test("internal caches are emptied first, and only logits fetched", async () => {
    const session = fakeSession({ caches: "internal" });
    const first = await generate(session);
    expect(await generate(session)).toEqual(first);
    expect(session.resets).toBe(2);
    expect(session.fetched[0]).toEqual(["logits"]);
  });
});

describe("options", () => {
  test("stop tokens end the sequence and are not given out", async () => {
    const all = greedy(prompt, 12);
    const stop = all[4];
    const seen: GeneratedToken[] = [];
    const tokens = await generate(fakeSession(), {
      stopTokens: [stop],
      onToken: (token) => void seen.push(token),
    });
    expect(tokens).toEqual(all.slice(0, all.indexOf(stop)));
    expect(seen.map(({ token }) => token)).toEqual([...tokens, stop]);
  });

  test("onToken tells how many tokens each run read", async () => {
    const seen: number[] = [];
    const onToken = ({ inputTokens }: GeneratedToken) => void seen.push(inputTokens);
    await generate(fakeSession({ caches: "fed" }), { maxNewTokens: 3, onToken });
    expect(seen).toEqual([prompt.length, 1, 1]);
  });

  test("the same seed draws the same tokens, another one others", async () => {
    const draw = (seed: number) => generate(fakeSession(), { temperature: 5, seed });
    expect(await draw(1)).toEqual(await draw(1));
    expect(await draw(1)).not.toEqual(await draw(2));
  });

  test("a signal that fires ends it with aborted", async () => {
    const controller = new AbortController();
    const tokens = generateTokens(fakeSession(), prompt, {
      maxNewTokens: 5,
      signal: controller.signal,
    });
    await tokens.next();
    controller.abort();
    await expect(tokens.next()).rejects.toMatchObject({ code: "aborted" });
  });

  test("nothing runs before the first token is asked for", () => {
    const session = fakeSession();
    generateTokens(session, prompt, { maxNewTokens: 5 });
    expect(session.runs).toEqual([]);
  });
});

describe("refuses", () => {
  const cases: readonly (readonly [string, FakeOptions, RegExp])[] = [
    ["unknown inputs", { inputs: [int64("pixels", [1, 3])] }, /also needs "pixels"/],
    [
      "caches that nothing continues",
      { caches: "fed", names: ["past.a", "logits2"] },
      /Cannot carry the cache "past.a".*no such output/,
    ],
    ["a fixed batch", { ids: [4, "sequence"] }, /takes 4 sequences at once/],
    ["long runs beside caches", { caches: "fed", ids: [1, 8] }, /takes 8 tokens in every run/],
    [
      "a sequence that outgrows the graph",
      { ids: [1, 6] },
      /failed after 6 tokens.*takes 6 tokens, got 7/,
    ],
    ["a prompt that does", { ids: [1, 4] }, /^The sequence has outgrown.*takes 4 tokens, got 5/],
  ];
  test.each(cases)("%s", async (_, form, message) => {
    await expect(generate(fakeSession(form))).rejects.toThrow(message);
  });

  test("the logits of padding", async () => {
    const fake = fakeSession({ ids: [1, 8] });
    const run: FakeSession["run"] = async (feeds, fetches) => {
      const { logits } = await fake.run(feeds, fetches);
      const [, length, width] = logits.dims;
      const data = (logits.data as Float32Array).slice((length - 1) * width);
      return { logits: { ...logits, type: "float32", dims: [1, 1, width], data } };
    };
    await expect(generate({ ...fake, run })).rejects.toThrow(/holds no logits of 8 tokens/);
    // Without padding the last position is the right one.
    const full = await generate({ ...fake, run }, { maxNewTokens: 1 }, [1, 2, 3, 4, 5, 6, 7, 8]);
    expect(full).toEqual(greedy([1, 2, 3, 4, 5, 6, 7, 8], 1));
  });

  test("a graph without ids", async () => {
    const session = { ...fakeSession(), inputMetadata: [] };
    await expect(generate(session)).rejects.toThrow(/expected an integer input of token ids/);
  });

  test.each([[[]], [[1.5]], [[-1]]])("the prompt %j", async (ids) => {
    await expect(generate(fakeSession(), {}, ids)).rejects.toMatchObject({ code: "bad-data" });
  });

  test.each([0, -1, 1.5, Number.NaN])("%d new tokens", async (maxNewTokens) => {
    const refused = generate(fakeSession(), { maxNewTokens });
    await expect(refused).rejects.toMatchObject({ code: "bad-option" });
  });
});
