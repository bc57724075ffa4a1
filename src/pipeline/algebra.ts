/**
 * The linear algebra of a run, with Node's threads.
 */
import type { Algebra } from "../core/algebra.ts";
import { nodePlatform } from "../engine/platform/node.ts";
import { openAlgebra as open } from "../math/algebra.ts";

/** How much of the machine `openAlgebra` takes. */
export interface AlgebraOptions {
  /** Threads in all; by default one for each physical core, up to 4. */
  readonly threads?: number | undefined;
  /** Called once for each thread that did not start or died; the results do not change. */
  readonly onThreadLost?: ((reason: string) => void) | undefined;
}

/**
 * Opens linear algebra on several threads, for `quantizeWeight` and the like. Its memory grows with the largest layer,
 * up to 4 GiB; `release` ends its threads.
 */
export const openAlgebra = (options: AlgebraOptions = {}): Promise<Algebra> =>
  open({
    threads: options.threads ?? nodePlatform.defaultThreads,
    startThreads: nodePlatform.startThreads,
    onThreadLost: options.onThreadLost,
  });

/** Linear algebra of a run, which gives its memory back where stages begin that need none of it. */
export interface RunAlgebra extends Algebra {
  /** Ends threads and frees memory; what is asked next opens both anew. Factors must have been released. */
  rest(): Promise<void>;
}

/** Opens when it is first used; `release` ends it. */
export function openRunAlgebra(options: { readonly threads: number }): RunAlgebra {
  let opened: Promise<Algebra> | undefined;
  const awake = () => {
    opened ??= openAlgebra(options);
    return opened;
  };
  const rest = async () => {
    const last = opened;
    opened = undefined;
    await (await last)?.release();
  };
  return {
    threads: options.threads,
    factor: async (...given) => (await awake()).factor(...given),
    fitGrids: async (...given) => (await awake()).fitGrids(...given),
    roundWithFeedback: async (...given) => (await awake()).roundWithFeedback(...given),
    product: async (...given) => (await awake()).product(...given),
    solve: async (...given) => (await awake()).solve(...given),
    quadraticForm: async (...given) => (await awake()).quadraticForm(...given),
    rest,
    release: rest,
  };
}
