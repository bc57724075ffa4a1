/**
 * The measurements as tables, with the targets.
 */
import { activationTypeFor, type LowBits, type Tiers } from "../../native/index.ts";
import { median } from "../harness/figures.ts";
import { columns } from "../harness/table.ts";
import type { ColdSpeed } from "./cold.ts";
import { type Candidate, gops, type Plan } from "./measurement.ts";
import type { Rival } from "./rivals.ts";

export interface Report {
  readonly plan: Plan;
  readonly shapes: Plan["shapes"];
  readonly bitsList: readonly LowBits[];
  readonly candidates: readonly Candidate[];
  readonly cold: readonly ColdSpeed[];
  readonly tiers: Tiers;
}

export function printTables({ plan, shapes, bitsList, candidates, cold, tiers }: Report): void {
  const find = (library: string, shape: string, m: number, bits: number, threads = 1) =>
    candidates.find(
      (one) =>
        one.library === library &&
        one.shape === shape &&
        one.m === m &&
        one.bits === bits &&
        one.threads === threads,
    );
  const cell = (value: number | undefined, target?: number, digits = 1) => {
    if (value === undefined) return "-";
    const mark = target === undefined ? "" : ` (${target})${value < target ? " <" : ""}`;
    return value.toFixed(digits) + mark;
  };
  const { targets } = plan;
  console.log(
    `\nGOP/s, one thread; in brackets the target, "<" where it is missed; × = times as fast`,
  );
  for (const { name: shape, k, n } of shapes) {
    for (const m of plan.rows) {
      console.log(`\nshape ${shape}: M ${m}, K ${k}, N ${n}`);
      const rows = [["bits", "bitloom", "kernel", "× web", "× node", "× on 2 threads", "error"]];
      const isTarget = shape === targets.shape;
      for (const bits of bitsList) {
        const ours = find("bitloom", shape, m, bits);
        if (!ours) continue;
        const activation = activationTypeFor(bits, tiers, false);
        const speed = gops(ours);
        const times = (library: Rival) => {
          const rival = find(library, shape, m, bits);
          return rival && speed / gops(rival);
        };
        const two = find("bitloom", shape, m, bits, 2);
        const onlyAt4 = isTarget && bits === 4;
        rows.push([
          `${bits}`,
          cell(speed, isTarget ? targets.gops[activation][m]?.[bits] : undefined),
          ours.kernel,
          cell(times("onnxruntime-web"), onlyAt4 ? targets.timesWeb[activation][m] : undefined),
          cell(
            times("onnxruntime-node"),
            onlyAt4 ? targets.timesNode[activation][m] : undefined,
            2,
          ),
          cell(two && gops(two) / speed, isTarget ? targets.twoThreads : undefined, 2),
          ours.error.toExponential(1),
        ]);
      }
      console.log(columns(rows));
      const float = (library: "bitloom" | Rival, threads = 1) => {
        const one = find(library, shape, m, 32, threads);
        return one ? gops(one).toFixed(1) : "-";
      };
      const ours = `bitloom ${float("bitloom")} (two threads ${float("bitloom", 2)})`;
      console.log(
        `float32: ${ours}, onnxruntime-web ${float("onnxruntime-web")}, onnxruntime-node ${float("onnxruntime-node")}`,
      );
    }
  }
  console.log("\nM 1, weights beyond the cache, one thread: GB/s of weights");
  const largest = shapes[shapes.length - 1].name;
  const cells = [
    ["bits", "product", "plain read", "product in the cache", "share of the lower limit"],
    ...cold.map(({ bits, matrix, readSpeed, productSpeed }) => {
      const hot = find("bitloom", largest, 1, bits);
      const inCache = hot ? matrix.bytes / median(hot.times) / 1e6 : Number.POSITIVE_INFINITY;
      const share = productSpeed / Math.min(readSpeed, inCache);
      return [
        `${bits}`,
        productSpeed.toFixed(1),
        readSpeed.toFixed(1),
        inCache.toFixed(1),
        cell(share, targets.coldShareOfReadBandwidth, 2),
      ];
    }),
  ];
  console.log(columns(cells));
}
