/**
 * Whether what a run will write fits the disks it goes to.
 * Invariant: an error only where the least that will surely be written does not fit.
 */
import { stat, statfs } from "node:fs/promises";
import { formatBytes } from "../allocate/index.ts";
import { BitloomError } from "../core/errors.ts";
import type { Notice } from "../core/events.ts";

/** Something that will be written; several of them may go to the same disk. */
export interface DiskDemand {
  readonly what: string;
  readonly folder: string;
  /** Less than this is not possible. */
  readonly sureBytes: number;
  readonly likelyBytes: number;
}

export interface Volume {
  /** Equal for folders of one disk. */
  readonly device: number;
  readonly freeBytes: number;
}

/** The disk that a folder lies on; undefined where the system does not say. */
export async function volumeOf(folder: string): Promise<Volume | undefined> {
  try {
    const [{ dev }, { bavail, bsize }] = await Promise.all([stat(folder), statfs(folder)]);
    return { device: dev, freeBytes: bavail * bsize };
  } catch {
    return undefined;
  }
}

/**
 * @param volume - finds the disk of a folder; folders without one are not judged.
 * @returns a notice where what is likely to be written may not fit.
 * @throws output - what will surely be written does not fit.
 */
export async function judgeDisk(
  demands: readonly DiskDemand[],
  volume: (folder: string) => Promise<Volume | undefined>,
): Promise<Notice | undefined> {
  const disks = new Map<number, { readonly freeBytes: number; readonly own: DiskDemand[] }>();
  for (const demand of demands) {
    const found = demand.likelyBytes > 0 ? await volume(demand.folder) : undefined;
    if (!found) continue;
    const disk = disks.get(found.device) ?? { freeBytes: found.freeBytes, own: [] };
    disk.own.push(demand);
    disks.set(found.device, disk);
  }
  for (const { freeBytes, own } of disks.values()) {
    const sure = own.filter(({ sureBytes }) => sureBytes > 0);
    const sureBytes = sure.reduce((sum, demand) => sum + demand.sureBytes, 0);
    if (sureBytes <= freeBytes) continue;
    const [{ folder }] = sure;
    throw new BitloomError(
      "output",
      `The disk of "${folder}" has no room for ${listOf(sure)}: expected at least ${formatBytes(sureBytes)} free, got ${formatBytes(freeBytes)}. Free some space, or name other places with --output and --checkpoint.`,
      { path: folder },
    );
  }
  for (const { freeBytes, own } of disks.values()) {
    const likelyBytes = own.reduce((sum, demand) => sum + demand.likelyBytes, 0);
    if (likelyBytes <= freeBytes) continue;
    return {
      code: "little-disk",
      message: `The disk of "${own[0].folder}" may be too small: ${listOf(own)} take about ${formatBytes(likelyBytes)}, and ${formatBytes(freeBytes)} are free. Free some space, set TMPDIR, or name other places with --output and --checkpoint.`,
    };
  }
  return undefined;
}

function listOf(demands: readonly DiskDemand[]): string {
  const names = demands.map(({ what }) => what);
  const last = names.pop() ?? "";
  return names.length > 0 ? `${names.join(", ")} and ${last}` : last;
}
