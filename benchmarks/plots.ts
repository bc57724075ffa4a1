/**
 * Makes pictures and the README's tables of committed results; measures nothing.
 *
 *   npm run bench:plots
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { readArguments } from "./harness/arguments.ts";
import { projectFolder } from "./harness/environment.ts";
import { committedPictures, readmeWithResults } from "./quality/publish.ts";

readArguments("bench:plots", {});
for (const { path, text } of committedPictures()) {
  const file = join(projectFolder, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  console.log(path);
}
const readme = join(projectFolder, "README.md");
writeFileSync(readme, readmeWithResults(readFileSync(readme, "utf8")));
console.log("README.md");
