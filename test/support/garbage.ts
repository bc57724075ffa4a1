/** Memory that is still reachable. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Bytes of array buffers that are left after a full garbage collection. */
export function reachableBytes(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  // Backing stores of buffers are freed by the collection after the one that finds them unreachable.
  for (let i = 0; i < 3; i++) collect();
  return process.memoryUsage().arrayBuffers;
}
