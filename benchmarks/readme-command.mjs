/**
 * Runs the quickstart and puts what it prints into the README, so that the figures there are always measured ones.
 * Part of `npm run docs:readme`.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";

/** Layers shown at the head and at the end of the table. */
const shownLayers = { first: 8, last: 3 };

const printed = execFileSync(
  process.execPath,
  [fileURLToPath(new URL("quickstart.mjs", import.meta.url))],
  { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] },
);
// The command, the table of layers, the summary, and where the files are.
const [command, table, ...rest] = printed.trim().split("\n\n");
const [head, ...layers] = table.split("\n");
if (!head.startsWith("layer ") || rest.length < 2) throw new Error(`unexpected text:\n${printed}`);
const shown = [
  ...layers.slice(0, shownLayers.first),
  "…",
  ...layers.slice(layers.length - shownLayers.last),
];
const cores = cpus();
const section = [
  "",
  "```",
  `$ ${command}`,
  "",
  head,
  ...shown,
  "",
  ...rest.slice(0, -1),
  "```",
  "",
  `This is what \`npm run quickstart\` printed on Node ${process.versions.node}, ${cores.length} cores of ${cores[0].model.trim()}; ${layers.length - shown.length + 1} layers are left out here.`,
  "",
].join("\n");

const path = new URL("../README.md", import.meta.url);
const readme = readFileSync(path, "utf8");
const begin = "<!-- command:begin -->\n";
const from = readme.indexOf(begin) + begin.length;
const to = readme.indexOf("<!-- command:end -->");
writeFileSync(path, `${readme.slice(0, from)}${section}\n${readme.slice(to)}`);
console.log(section);
