/**
 * Segments of the graph that have no kernel, run by another runtime (ONNX Runtime).
 */
import { BitloomError, invariant } from "../../core/errors.ts";
import type { Feeds } from "../../core/feeds.ts";
import { extractSubgraph } from "../../onnx/portable.ts";
import type { Model } from "../../onnx/types.ts";
import type { Runtime, Session } from "../runtime.ts";
import type { Segment } from "./schedule.ts";

/** Makes the other runtime when it is first needed; undefined where there is none. */
export type OpenFallback = (() => Promise<Runtime>) | undefined;

export class Fallback {
  readonly #open: OpenFallback;
  #runtime: Promise<Runtime> | undefined;
  /** Time spent in segments so far, with the copies in and out. */
  elapsedMs = 0;

  constructor(open: OpenFallback) {
    this.#open = open;
  }

  /**
   * The function that runs a segment; its session is opened by the first run, when the types of its inputs are known.
   *
   * @throws unsupported - there is no other runtime.
   */
  segment(model: Model, { nodes, outputs }: Segment): (feeds: Feeds) => Promise<Feeds> {
    const open = this.#open;
    const operators = [...new Set(nodes.map(({ opType }) => opType))].join(", ");
    if (!open) {
      throw new BitloomError(
        "unsupported",
        `The model uses ${operators}, for which there is no kernel, and no other runtime was given to run it. Pass one with the option "fallback" (onnxruntime-web in a browser).`,
        { what: operators, node: nodes[0].name },
      );
    }
    let session: Promise<Session> | undefined;
    return async (feeds) => {
      const start = performance.now();
      session ??= this.#session(open, cut(model, feeds, outputs));
      const results = await (await session).run(feeds, outputs);
      this.elapsedMs += performance.now() - start;
      return results;
    };
  }

  async close(): Promise<void> {
    // One that never opened has failed a run, and leaves nothing to close.
    const runtime = await this.#runtime?.catch(() => undefined);
    this.#runtime = undefined;
    await runtime?.close();
  }

  async #session(open: () => Promise<Runtime>, part: Model): Promise<Session> {
    this.#runtime ??= open();
    return (await this.#runtime).open(part);
  }
}

function cut(model: Model, feeds: Feeds, outputs: readonly string[]): Model {
  invariant(outputs.length > 0, "a segment without outputs is no part of the program");
  return extractSubgraph(model, {
    inputs: Object.entries(feeds).map(([name, { dtype, shape }]) => ({
      name,
      dtype,
      // Only the rank stays the same from run to run.
      shape: shape.map(() => undefined),
    })),
    outputs: outputs.map((name) => ({
      name,
      dtype: model.graph.valueInfo(name)?.dtype,
      // What a file says of inner shapes may be stale.
      shape: undefined,
    })),
  });
}
