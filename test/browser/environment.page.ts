/** Runs in a page: what the page is given. */
export interface Environment {
  readonly crossOriginIsolated: boolean;
  readonly hasSharedMemory: boolean;
  readonly hasNode: boolean;
  /** Whether text can be compiled to code. */
  readonly canEvaluate: boolean;
}

export function run(_input: null): Environment {
  return {
    crossOriginIsolated: Reflect.get(globalThis, "crossOriginIsolated") === true,
    hasSharedMemory: "SharedArrayBuffer" in globalThis,
    hasNode: "process" in globalThis || "Buffer" in globalThis,
    canEvaluate: compiles(),
  };
}

function compiles(): boolean {
  try {
    return new Function("return true")() === true;
  } catch {
    return false;
  }
}
