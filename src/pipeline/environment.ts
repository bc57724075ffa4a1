/** What a run was made with, for the report. */
import type { EnvironmentReport } from "../report/index.ts";
import { onnxRuntimeVersion } from "../runtime/index.ts";

export function describeEnvironment(threads: number): EnvironmentReport {
  return {
    node: process.versions.node,
    onnxRuntime: onnxRuntimeVersion(),
    platform: `${process.platform}-${process.arch}`,
    threads,
    // The system counts in kilobytes.
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
  };
}
