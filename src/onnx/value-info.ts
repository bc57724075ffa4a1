/**
 * Declared types of graph values. Only dense tensor types are interpreted; others keep their record and no dtype.
 */
import { dtypeFromCode } from "../core/tensor.ts";
import { maxRank } from "./limits.ts";
import { withOrigin } from "./origin.ts";
import {
  dimensionFields,
  shapeFields,
  tensorTypeFields,
  typeFields,
  valueInfoFields,
} from "./schema.ts";
import type { FileContext } from "./tensor-data.ts";
import type { ValueInfo } from "./types.ts";
import { badModel, nameOf, readFields, requireWireType, type WireRecord } from "./wire.ts";

type Dimension = number | string | undefined;

/**
 * Decodes a ValueInfoProto. A negative dim_value, which old exporters write for "unknown", counts as unknown.
 *
 * @throws bad-model - unknown data type number, more than `maxRank` dims.
 */
export function decodeValueInfo(record: WireRecord, context: FileContext): ValueInfo {
  requireWireType(record, 2);
  let name = "";
  let code = 0;
  let shape: Dimension[] | undefined;
  for (const child of readFields(record)) {
    if (child.field === valueInfoFields.name) name = nameOf(child);
    else if (child.field === valueInfoFields.type) {
      for (const type of readFields(child)) {
        if (type.field !== typeFields.tensor) continue;
        for (const part of readFields(type)) {
          if (part.field === tensorTypeFields.elementType) code = part.value;
          else if (part.field === tensorTypeFields.shape) shape = decodeShape(part);
        }
      }
    }
  }
  const dtype = dtypeFromCode(code);
  if (code !== 0 && dtype === undefined) throw broken(`unknown data type number ${code}`);
  if (shape && shape.length > maxRank) throw broken(`more than ${maxRank} dims`);
  return withOrigin({ name, dtype, shape: dtype && shape }, { record, context });

  function broken(problem: string): Error {
    const where = `value "${name}"`;
    const message = `The declared type of ${where} in "${context.file}" is damaged: ${problem}. Export the model again.`;
    return badModel(context.file, message, where);
  }
}

function decodeShape(record: WireRecord): Dimension[] {
  const shape: Dimension[] = [];
  for (const dimension of readFields(record)) {
    if (dimension.field !== shapeFields.dimension) continue;
    let value: Dimension;
    for (const part of readFields(dimension)) {
      if (part.field === dimensionFields.value) value = part.value < 0 ? undefined : part.value;
      else if (part.field === dimensionFields.parameter) value = nameOf(part) || undefined;
    }
    shape.push(value);
    if (shape.length > maxRank) break;
  }
  return shape;
}
