/** Runs in a page: opens a model on the kernels and gives back what `test/browser/session.test.ts` compares. */
import { createSession, type Tensor } from "../../src/runtime/browser.ts";

export interface SessionInput {
  readonly model: string;
  readonly threads: number;
  readonly precision: "exact" | "fast";
  readonly ids: readonly number[];
}

export interface SessionFacts {
  readonly dims: readonly number[];
  /** The first logits of the last position, and the sum of all. */
  readonly logits: readonly number[];
  readonly sum: number;
  readonly notices: readonly string[];
}

export async function run(input: SessionInput): Promise<SessionFacts> {
  const notices: string[] = [];
  const session = await createSession(input.model, {
    threads: input.threads,
    precision: input.precision,
    onEvent: (event) => event.type === "notice" && notices.push(event.notice.code),
  });
  const { logits } = await session.run({
    input_ids: {
      type: "int64",
      dims: [1, input.ids.length],
      data: BigInt64Array.from(input.ids, BigInt),
    },
  });
  await session.release();
  return { ...factsOf(logits), notices };
}

export function factsOf({ dims, data }: Tensor): Omit<SessionFacts, "notices"> {
  const numbers = data as Float32Array;
  const last = numbers.length - (dims.at(-1) ?? 0);
  return {
    dims,
    logits: [...numbers.subarray(last, last + 64)],
    sum: numbers.reduce((sum, value) => sum + Math.abs(value), 0),
  };
}
