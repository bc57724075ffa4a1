/**
 * Why a layer has its format, in words: what a byte would save one step up and cost one step down, as multiples of the
 * going price. A layer stays where the first is at most 1 and the second at least.
 */
import type { LayerStep, QuantizeReport, ReportedLayer } from "../document.ts";
import { times } from "./numbers.ts";

type Decided = Pick<QuantizeReport, "decision" | "gate" | "options">;

export function reasonOf(layer: ReportedLayer, { decision, gate, options }: Decided): string {
  if (!decision) return "The saved plan says so.";
  const { nextUpgrade, lastDowngrade } = layer;
  if (!nextUpgrade && !lastDowngrade) return "No other format was on offer.";
  const price = decision.marginalPrice;
  const isUniform = gate?.written === "uniform" || options.allocator === "uniform";
  const byPrice = !isUniform && options.allocator === "knapsack";
  const [up, down] = [upgrade(nextUpgrade, price), downgrade(lastDowngrade, price)];
  const remark = byPrice && price > 0 ? remarkOn(layer, price) : "";
  return `${isUniform ? "One format for all layers: " : ""}${up}; ${down}.${remark}`;
}

function upgrade(step: LayerStep | null, price: number): string {
  if (!step) return "nothing better was on offer";
  const { format, lossPerByte } = step;
  if (lossPerByte <= 0) return `${format} is predicted to be no better`;
  if (price <= 0) return `${format} would be better`;
  return `${format} would save ${times(lossPerByte / price)}× the price`;
}

function downgrade(step: LayerStep | null, price: number): string {
  if (!step) return "nothing smaller was on offer";
  const { format, lossPerByte } = step;
  if (lossPerByte <= 0) return `${format} is predicted to be no worse`;
  if (price <= 0) return `${format} would be worse`;
  return `${format} would cost ${times(lossPerByte / price)}×`;
}

/** Steps that would pay and were not taken: whole layers do not always fit what is left. */
function remarkOn({ nextUpgrade, lastDowngrade }: ReportedLayer, price: number): string {
  const slack = 1.0005;
  if (nextUpgrade && nextUpgrade.lossPerByte > slack * price) {
    return " Worth it, but it did not fit with the others.";
  }
  const cost = lastDowngrade?.lossPerByte ?? 0;
  if (cost > 0 && cost * slack < price) {
    return " Cheap, but nothing better fits the freed bytes.";
  }
  return "";
}
