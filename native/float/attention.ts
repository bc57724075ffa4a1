/**
 * Attention without the matrix of scores: keys stream by in chunks, with a running maximum and sum per query row.
 * Rows of all query heads that share a key/value head run together, so that decoding with grouped heads reads each
 * key once. Serves MultiHeadAttention, GroupQueryAttention, Attention and fused plain graphs; caches are read in
 * place.
 */
import {
  FunctionBuilder,
  f32,
  f32x4,
  type I32,
  i32,
  memory,
  select,
  v128,
} from "../assembler/index.ts";
import { defineKernel } from "../kernel.ts";
import {
  capScores,
  findHidden,
  limitScores,
  maskScores,
  rowState,
  rowStateBytes,
  softmaxStep,
} from "./attention-softmax.ts";
import { rowsPerTile, scoreTiles, valueTiles } from "./attention-tile.ts";
import { elementsToBytes, minimum } from "./gemm-pack.ts";

/** Keys per chunk: 64 value rows of 64 to 128 elements stay in the first-level cache for all columns. */
const keysPerChunk = 64;

const maximum = (a: I32, b: I32) => select(a, b, i32.gt_s(a, b));
const scoresAt = rowStateBytes;
const queryAt = scoresAt + 4 * rowsPerTile * keysPerChunk;
/** A packed query element takes at most a vector. */
const queryBytes = (headSize: number) => 16 * rowsPerTile * (Math.floor(headSize / 4) + 3);

/**
 * target[d / 4][row] = scale · query[d .. d + 3], then [d % 4][row] with one element in lane 0.
 * Parameters: target (of the row), query (bytes), size, bytes from vector to vector, scale.
 */
const packQuery: FunctionBuilder = buildPackQuery();

function buildPackQuery(): FunctionBuilder {
  const code = new FunctionBuilder("attention-query", ["i32", "i32", "i32", "i32", "f32"]);
  const [target, query, size, step] = [0, 1, 2, 3].map((index) => code.parameter(index, "i32"));
  const scale = code.local("v128", f32x4.splat(code.parameter(4, "f32")));
  const at = code.local("i32");
  code.for(at, i32.sub(size, i32.const(3)), 4, () => {
    code.do(v128.store(target, f32x4.mul(scale, v128.load(query))));
    code.advance(query, 16);
    code.advance(target, step);
  });
  code.for(at, size, 1, () => {
    code.do(v128.store(target, f32x4.mul(scale, v128.load32_zero(query))));
    code.advance(query, 4);
    code.advance(target, step);
  });
  return code;
}

/** output[d] = sums[d] / total. Parameters: output, sums (bytes), size, total. */
const divideRow: FunctionBuilder = buildDivideRow();

function buildDivideRow(): FunctionBuilder {
  const code = new FunctionBuilder("attention-divide", ["i32", "i32", "i32", "f32"]);
  const [output, sums, size] = [0, 1, 2].map((index) => code.parameter(index, "i32"));
  const total = code.parameter(3, "f32");
  const totals = code.local("v128", f32x4.splat(total));
  const at = code.local("i32");
  const walk = (step: number, body: () => void) => {
    code.for(at, i32.sub(size, i32.const(step - 1)), step, () => {
      body();
      code.advance(output, 4 * step);
      code.advance(sums, 4 * step);
    });
  };
  walk(4, () => code.do(v128.store(output, f32x4.div(v128.load(sums), totals))));
  walk(1, () => code.do(f32.store(output, f32.div(f32.load(sums), total))));
  return code;
}

/**
 * out[b, h, i] = Σ_j softmax_j(cap(scale · q[b, h, i] · k[b, h / group, j]) + mask[b, h, i, j]) · v[b, h / group, j]
 *
 * over the visible keys j: j < length, if causal j ≤ offset + i, and if window > 0 also j > offset + i − window (the
 * window counts the row's own key). cap(x) = softcap · tanh(x / softcap), or x if softcap is 0.
 *
 * Fields: pointers q, k, v, out, mask (float32, contiguous along keys; 0: none), lengths and offsets (int32 per
 * batch; 0: the fields length and offset hold for all); strides in elements; the rest from `planAttention`.
 * Cost: 2 · (headSize + valueSize) operations per visible pair, one exp per pair; scratch does not grow with length.
 * Numerics: float32, chunks of 64 keys; |error| ≤ 1e-6 · max|v| for scores of ordinary size. A row whose scores
 * are all −∞, or that sees no key, is NaN; equal very negative scores are uniform; both as in a plain softmax.
 */
export const attention = defineKernel({
  name: "f32-attention-simd128",
  isa: "simd128",
  fields: {
    q: "i32",
    k: "i32",
    v: "i32",
    out: "i32",
    mask: "i32",
    lengths: "i32",
    offsets: "i32",
    queries: "i32",
    kvHeads: "i32",
    group: "i32",
    headSize: "i32",
    valueSize: "i32",
    length: "i32",
    offset: "i32",
    causal: "i32",
    window: "i32",
    qBatch: "i32",
    qHead: "i32",
    qRow: "i32",
    kBatch: "i32",
    kHead: "i32",
    kRow: "i32",
    vBatch: "i32",
    vHead: "i32",
    vRow: "i32",
    outBatch: "i32",
    outHead: "i32",
    outRow: "i32",
    maskBatch: "i32",
    maskHead: "i32",
    maskRow: "i32",
    scale: "f32",
    softcap: "f32",
  },
  item: "4 rows (query × head of the group) of one key/value head, heads then batches outside",
  scratchBytes: ({ headSize, valueSize }) =>
    queryAt + queryBytes(headSize) + 16 * rowsPerTile * Math.ceil(valueSize / 4),
  build(code) {
    const { fields, scratch: state } = code;
    const { queries, kvHeads, group, headSize, valueSize, causal, window } = fields;
    const add = (...terms: readonly I32[]) => terms.reduce((sum, term) => i32.add(sum, term));
    const at = (base: I32, ...steps: readonly (readonly [I32, I32])[]) =>
      add(base, elementsToBytes(add(...steps.map(([index, stride]) => i32.mul(index, stride)))));
    const rows = code.local("i32", i32.mul(queries, group));
    const tiles = code.local(
      "i32",
      i32.div_u(i32.add(rows, i32.const(rowsPerTile - 1)), i32.const(rowsPerTile)),
    );
    const scores = code.local("i32", i32.add(state, i32.const(scoresAt)));
    const query = code.local("i32", i32.add(state, i32.const(queryAt)));
    const vectors = i32.add(i32.shr_u(headSize, i32.const(2)), i32.const(3));
    const sums = code.local(
      "i32",
      i32.add(query, i32.shl(vectors, i32.const(Math.log2(16 * rowsPerTile)))),
    );
    const sumStep = code.local(
      "i32",
      i32.and(i32.add(elementsToBytes(valueSize), i32.const(15)), i32.const(-16)),
    );
    const [kvHead, batch, first, count, length, offset] = code.locals(6, "i32");
    const [row, position, head, from, to, keyBegin, keyEnd] = code.locals(7, "i32");
    const [allBegin, allEnd, key, keys, kRows, vRows, isOne] = code.locals(7, "i32");

    /** Rows past the last repeat the first: their lanes are computed and dropped. */
    const prepareRow = (index: number) => {
      row.set(first);
      code.if(i32.lt_s(i32.const(index), count), () => row.set(i32.add(first, i32.const(index))));
      position.set(i32.div_u(row, group));
      head.set(i32.add(i32.mul(kvHead, group), i32.rem_u(row, group)));
      const step = select(i32.const(16), i32.const(16 * rowsPerTile), isOne);
      const target = i32.add(query, i32.const(16 * index));
      const source = at(
        fields.q,
        [batch, fields.qBatch],
        [head, fields.qHead],
        [position, fields.qRow],
      );
      code.run(packQuery, target, source, headSize, step, fields.scale);
      const output = at(
        fields.out,
        [batch, fields.outBatch],
        [head, fields.outHead],
        [position, fields.outRow],
      );
      code.do(i32.store(state, output, rowState.output + 4 * index));
      const mask = at(
        fields.mask,
        [batch, fields.maskBatch],
        [head, fields.maskHead],
        [position, fields.maskRow],
      );
      code.do(i32.store(state, mask, rowState.mask + 4 * index));
      position.set(i32.add(position, offset));
      from.set(i32.const(0));
      to.set(length);
      code.if(causal, () => to.set(minimum(length, i32.add(position, i32.const(1)))));
      code.if(i32.gt_s(window, i32.const(0)), () => {
        const start = i32.sub(i32.add(position, i32.const(1)), window);
        from.set(maximum(start, i32.const(0)));
      });
      code.do(i32.store(state, from, rowState.firstKey + 4 * index));
      code.do(i32.store(state, to, rowState.endKey + 4 * index));
      keyBegin.set(minimum(keyBegin, from));
      keyEnd.set(maximum(keyEnd, to));
      allBegin.set(maximum(allBegin, from));
      allEnd.set(minimum(allEnd, to));
    };

    const doChunk = () => {
      keys.set(minimum(i32.sub(keyEnd, key), i32.const(keysPerChunk)));
      const kAt = i32.add(kRows, elementsToBytes(i32.mul(key, fields.kRow)));
      const vAt = i32.add(vRows, elementsToBytes(i32.mul(key, fields.vRow)));
      const kStep = elementsToBytes(fields.kRow);
      const vStep = elementsToBytes(fields.vRow);
      const score = (tile: FunctionBuilder) =>
        code.run(tile, query, kAt, kStep, headSize, keys, scores);
      code.if(
        isOne,
        () => score(scoreTiles[1]),
        () => score(scoreTiles[4]),
      );
      code.if(f32.ne(fields.softcap, f32.const(0)), () =>
        code.run(capScores, scores, keys, fields.softcap),
      );
      code.if(fields.mask, () => code.run(maskScores, scores, keys, state, elementsToBytes(key)));
      const isCut = i32.or(i32.lt_s(key, allBegin), i32.gt_s(i32.add(key, keys), allEnd));
      code.if(isCut, () => code.run(limitScores, scores, keys, state, key));
      code.run(softmaxStep, scores, keys, state);
      const decay = i32.add(state, i32.const(rowState.decay));
      const gather = (tile: FunctionBuilder) =>
        code.run(tile, scores, vAt, vStep, valueSize, keys, sums, sumStep, decay);
      code.if(
        isOne,
        () => gather(valueTiles[1]),
        () => gather(valueTiles[4]),
      );
    };

    const finishRow = (index: number) =>
      code.if(i32.lt_s(i32.const(index), count), () => {
        const output = i32.load(state, rowState.output + 4 * index);
        const total = f32.load(state, rowState.sum + 4 * index);
        const source = i32.add(sums, i32.mul(sumStep, i32.const(index)));
        code.run(divideRow, output, source, valueSize, total);
      });

    const lanes = Array.from({ length: rowsPerTile }, (_, index) => index);
    const item = code.local("i32", code.begin);
    code.for(item, code.end, 1, () => {
      const strip = i32.div_u(item, tiles);
      kvHead.set(i32.rem_u(strip, kvHeads));
      batch.set(i32.div_u(strip, kvHeads));
      first.set(i32.mul(i32.rem_u(item, tiles), i32.const(rowsPerTile)));
      count.set(minimum(i32.sub(rows, first), i32.const(rowsPerTile)));
      isOne.set(i32.eq(count, i32.const(1)));
      length.set(fields.length);
      offset.set(fields.offset);
      const ofBatch = (base: I32) => i32.load(i32.add(base, elementsToBytes(batch)));
      code.if(fields.lengths, () => length.set(ofBatch(fields.lengths)));
      code.if(fields.offsets, () => offset.set(ofBatch(fields.offsets)));
      kRows.set(at(fields.k, [batch, fields.kBatch], [kvHead, fields.kHead]));
      vRows.set(at(fields.v, [batch, fields.vBatch], [kvHead, fields.vHead]));
      keyBegin.set(length);
      keyEnd.set(i32.const(0));
      allBegin.set(i32.const(0));
      allEnd.set(length);
      // One row packs its query alone; the lanes of the others still need their limits.
      lanes.forEach((index) => {
        if (index === 0) prepareRow(index);
        else code.if(i32.eqz(isOne), () => prepareRow(index));
      });
      code.if(isOne, () => {
        for (const field of [rowState.firstKey, rowState.endKey, rowState.mask]) {
          code.do(v128.store(state, v128.load32_splat(state, field), field));
        }
      });
      const lowest = f32x4.splat(f32.const(Number.NEGATIVE_INFINITY));
      code.do(v128.store(state, lowest, rowState.maximum));
      code.do(v128.store(state, v128.zero(), rowState.sum));
      code.do(memory.fill(sums, i32.const(0), i32.mul(sumStep, i32.const(rowsPerTile))));
      key.set(keyBegin);
      code.do(i32.store(state, i32.const(0), rowState.isHidden));
      code.for(key, keyEnd, keysPerChunk, () => {
        code.if(fields.mask, () => {
          const keys = minimum(i32.sub(keyEnd, key), i32.const(keysPerChunk));
          code.run(findHidden, keys, state, elementsToBytes(key));
        });
        code.if(i32.eqz(i32.load(state, rowState.isHidden)), doChunk);
      });
      lanes.forEach(finishRow);
    });
  },
});
