import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // The command-line tests run the built program.
    globalSetup: ["test/support/build.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // ONNX Runtime keeps threads; forks end cleanly.
    pool: "forks",
    // Vitest leaves one core idle, which is half of two.
    maxWorkers: "100%",
  },
});
