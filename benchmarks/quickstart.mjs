/**
 * `npm run quickstart`: the embedded language model into 3.5 bits per weight with the built command, nothing else.
 * Writes quickstart/ and may be run again.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const data = "calibration/tiny-lm";
const args = [
  `${data}/model.onnx`,
  "--output quickstart/model.onnx",
  "--budget 3.5bpw",
  `--tokenizer ${data}/tokenizer.json`,
  `--calibration ${data}/calibration.txt`,
  `--evaluate ${data}/evaluation.txt`,
  "--save-plan quickstart/plan.json",
  "--report quickstart/report.html",
  "--report quickstart/report.json",
  "--force",
];
console.log(`\nquantize ${args.join(" \\\n  ")}\n`);
mkdirSync(new URL("../quickstart/", import.meta.url), { recursive: true });
const { status } = spawnSync(
  process.execPath,
  ["dist/src/cli/main.js", ...args.flatMap((arg) => arg.split(" "))],
  { cwd: root, stdio: "inherit" },
);
if (status === 0) {
  console.log(
    "\nWritten to quickstart/: model.onnx (any ONNX Runtime loads it), report.html (open it in a browser),\nreport.json, plan.json.",
  );
}
process.exitCode = status ?? 1;
