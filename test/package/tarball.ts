/** The package as `npm pack` makes it from the present build. */
import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));

export interface Tarball {
  readonly path: string;
  /** Paths inside the package. */
  readonly files: readonly string[];
  readonly unpackedBytes: number;
}

interface PackReport {
  readonly filename: string;
  readonly unpackedSize: number;
  readonly files: readonly { readonly path: string }[];
}

/** A folder for scratch files, which the caller removes. */
export const scratchFolder = (): string => mkdtempSync(join(tmpdir(), "bitloom-package-"));

export function npm(args: readonly string[], cwd: string): string {
  return execFileSync("npm", args, {
    cwd,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    shell: process.platform === "win32",
  });
}

export function pack(folder: string): Tarball {
  const [report] = JSON.parse(
    npm(["pack", "--json", "--pack-destination", folder], root),
  ) as PackReport[];
  return {
    path: join(folder, report.filename),
    files: report.files.map(({ path }) => path).sort(),
    unpackedBytes: report.unpackedSize,
  };
}
