/**
 * The steps behind `npm test` and `npm run quickstart`, in plain JavaScript because they run on a fresh clone, before
 * anything is installed: `node test/steps.mjs install lint compile docs tests [arguments for vitest]`.
 * A step that fails ends the run with its exit code.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`bitloom needs Node 20.19 or newer; this is Node ${process.versions.node}.`);
  process.exit(1);
}

/** @type {Record<string, (rest: string[]) => number>} */
const steps = {
  install: () => (isInstalled() ? 0 : install()),
  clean: () => {
    rmSync(join(root, "dist"), { recursive: true, force: true });
    return 0;
  },
  lint: () => node("@biomejs/biome", "bin/biome", ["check", "--error-on-warnings", "."]),
  build: () => {
    removeStale();
    return node("typescript", "bin/tsc", ["-p", "tsconfig.build.json"]);
  },
  // Tests and benchmarks too, so that this checks all types.
  compile: () => {
    removeStale();
    return node("typescript", "bin/tsc", ["-p", "tsconfig.json"]);
  },
  docs: () => node("typedoc", "bin/typedoc", ["--logLevel", "Warn"]),
  tests: (rest) => node("vitest", "vitest.mjs", ["run", ...rest]),
};

const names = process.argv.slice(2);
const rest = names.includes("tests") ? names.splice(names.indexOf("tests") + 1) : [];
for (const [index, name] of names.entries()) {
  const step = steps[name];
  if (!step) {
    console.error(`Unknown step "${name}": expected ${Object.keys(steps).join(", ")}.`);
    process.exit(1);
  }
  console.log(`\n[${index + 1}/${names.length}] ${name}`);
  const start = performance.now();
  const status = step(rest);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`    ${name} ${status === 0 ? "done" : "FAILED"} after ${seconds} s`);
  if (status !== 0) process.exit(status);
}

/** Removes what was built of sources that are gone: it would become part of the package. */
function removeStale() {
  for (const top of ["src", "native"]) {
    const built = join(root, "dist", top);
    if (!existsSync(built)) continue;
    for (const file of readdirSync(built, { recursive: true, encoding: "utf8" })) {
      if (!/\.(js|d\.ts)(\.map)?$/.test(file)) continue;
      const source = join(root, top, file.replace(/\.(js|d\.ts)(\.map)?$/, ""));
      if (!existsSync(`${source}.ts`) && !existsSync(`${source}.js`)) rmSync(join(built, file));
    }
  }
}

/** True when node_modules holds the locked version of every package this platform needs. */
function isInstalled() {
  const installed = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(installed)) return false;
  const { packages: found } = JSON.parse(readFileSync(installed, "utf8"));
  const { packages: locked } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  return Object.entries(locked).every(
    ([path, { version, optional }]) => path === "" || optional || found[path]?.version === version,
  );
}

/**
 * `npm install`, not `npm ci`: a registry that mirrors only some platforms lacks some optional binaries, and `npm ci`
 * then refuses the lock file. `--no-save` keeps the lock file as it is.
 */
function install() {
  console.log("    npm install (about 650 MB, most of it the two ONNX Runtimes)");
  return run("npm", ["install", "--no-save", "--no-progress"], process.platform === "win32");
}

/**
 * Runs a package's own script under this Node.
 *
 * @param {string} name
 * @param {string} script
 * @param {string[]} args
 */
function node(name, script, args) {
  const manifest = createRequire(join(root, "package.json")).resolve(`${name}/package.json`);
  return run(process.execPath, [join(dirname(manifest), script), ...args], false);
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {boolean} shell
 */
function run(command, args, shell) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit", shell });
  if (error) console.error(`    ${command}: ${error.message}`);
  return status ?? 1;
}
