import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // The command-line tests run the built program.
    globalSetup: ["test/support/build.ts"],
    setupFiles: ["test/support/fast-equality.ts"],
    // Real models on a busy machine: a limit is there to end what hangs, not to measure.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    // ONNX Runtime keeps threads; forks end cleanly.
    pool: "forks",
    // One more than there are cores: many tests wait for a process that they started.
    maxWorkers: availableParallelism() + 1,
  },
});
