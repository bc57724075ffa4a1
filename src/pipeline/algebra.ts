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
