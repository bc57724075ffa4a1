/**
 * Field numbers of the ONNX messages that are read or written here, as data (IR 14, onnx 1.23).
 * Fields that are missing here are carried along unread: every record that nobody edits is copied byte for byte.
 */

export const modelFields = {
  irVersion: 1,
  producerName: 2,
  producerVersion: 3,
  graph: 7,
  opsetImport: 8,
  metadata: 14,
  trainingInfo: 20,
  functions: 25,
} as const;

export const graphFields = {
  node: 1,
  name: 2,
  initializer: 5,
  input: 11,
  output: 12,
  valueInfo: 13,
  quantizationAnnotation: 14,
  sparseInitializer: 15,
} as const;

export const nodeFields = {
  input: 1,
  output: 2,
  name: 3,
  opType: 4,
  attribute: 5,
  domain: 7,
} as const;

export const attributeFields = {
  name: 1,
  float: 2,
  int: 3,
  string: 4,
  tensor: 5,
  graph: 6,
  floats: 7,
  ints: 8,
  strings: 9,
  tensors: 10,
  graphs: 11,
  typeProto: 14,
  typeProtos: 15,
  type: 20,
  reference: 21,
  sparseTensor: 22,
  sparseTensors: 23,
} as const;

/** `AttributeProto.AttributeType`. */
export const attributeTypes = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  graph: 5,
  floats: 6,
  ints: 7,
  strings: 8,
} as const;

export const tensorFields = {
  dims: 1,
  dataType: 2,
  segment: 3,
  floatData: 4,
  int32Data: 5,
  stringData: 6,
  int64Data: 7,
  name: 8,
  rawData: 9,
  doubleData: 10,
  uint64Data: 11,
  externalData: 13,
  dataLocation: 14,
} as const;

export const valueInfoFields = { name: 1, type: 2 } as const;
export const typeFields = { tensor: 1 } as const;
export const tensorTypeFields = { elementType: 1, shape: 2 } as const;
export const shapeFields = { dimension: 1 } as const;
export const dimensionFields = { value: 1, parameter: 2 } as const;
export const entryFields = { key: 1, value: 2 } as const;
export const opsetFields = { domain: 1, version: 2 } as const;
export const annotationFields = { tensorName: 1 } as const;
export const sparseTensorFields = { values: 1, indices: 2 } as const;

export const functionFields = {
  name: 1,
  input: 4,
  output: 5,
  attribute: 6,
  node: 7,
  doc: 8,
  opsetImport: 9,
  domain: 10,
  attributeProto: 11,
  overload: 13,
} as const;

/** Messages in which a tensor may be found. */
export type TensorCarrier =
  | "graph"
  | "node"
  | "attribute"
  | "tensor"
  | "sparseTensor"
  | "function"
  | "trainingInfo";

/** Where to look for tensors: message → field number → message. */
export const tensorCarriers: Readonly<
  Record<TensorCarrier, Readonly<Record<number, TensorCarrier>>>
> = {
  graph: {
    [graphFields.node]: "node",
    [graphFields.initializer]: "tensor",
    [graphFields.sparseInitializer]: "sparseTensor",
  },
  node: { [nodeFields.attribute]: "attribute" },
  attribute: {
    [attributeFields.tensor]: "tensor",
    [attributeFields.graph]: "graph",
    [attributeFields.tensors]: "tensor",
    [attributeFields.graphs]: "graph",
    [attributeFields.sparseTensor]: "sparseTensor",
    [attributeFields.sparseTensors]: "sparseTensor",
  },
  tensor: {},
  sparseTensor: {
    [sparseTensorFields.values]: "tensor",
    [sparseTensorFields.indices]: "tensor",
  },
  function: {
    [functionFields.node]: "node",
    [functionFields.attributeProto]: "attribute",
  },
  trainingInfo: { 1: "graph", 2: "graph" },
};
