/**
 * Convolution by its definition: every row that every group reads, one element at a time. Shares no code with `src/`.
 */

export interface ReferenceWindow {
  readonly groups: number;
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** As ONNX has them: all begins, then all ends. */
  readonly pads: readonly number[];
}

export interface ReferenceRows {
  /** Per group its rows X_g, each of K elements: channel, then the kernel's axes. */
  readonly groups: readonly (readonly number[])[];
  /** Positions per axis. */
  readonly positions: readonly number[];
  /** T = batch · Π positions. */
  readonly count: number;
}

/** Every combination of indices below `sizes`, the last one fastest. */
export function combinations(sizes: readonly number[]): number[][] {
  return sizes.reduce<number[][]>(
    (heads, size) =>
      heads.flatMap((head) => Array.from({ length: size }, (_, index) => [...head, index])),
    [[]],
  );
}

/**
 * The rows of x [batch, channels, ...axes]; row t belongs to batch and position t, the last axis fastest.
 *
 * @param step - takes every step-th position of each axis only.
 */
export function referenceRows(
  x: ArrayLike<number>,
  shape: readonly number[],
  window: ReferenceWindow,
  step = 1,
): ReferenceRows {
  const [batch, channels, ...sizes] = shape;
  const { groups, kernel, strides, dilations, pads } = window;
  const all = sizes.map((size, a) => {
    const reach = (kernel[a] - 1) * dilations[a] + 1;
    return Math.floor((size + pads[a] + pads[a + sizes.length] - reach) / strides[a]) + 1;
  });
  const positions = all.map((count) => Math.ceil(count / step));
  const rows: number[][] = Array.from({ length: groups }, () => []);
  const perGroup = channels / groups;
  for (const [sample, ...position] of combinations([batch, ...positions])) {
    for (const [channel, ...tap] of combinations([channels, ...kernel])) {
      let at = sample * channels + channel;
      let isInside = true;
      for (const [a, size] of sizes.entries()) {
        const index = position[a] * step * strides[a] + tap[a] * dilations[a] - pads[a];
        isInside &&= index >= 0 && index < size;
        at = at * size + index;
      }
      rows[Math.floor(channel / perGroup)].push(isInside ? x[at] : 0);
    }
  }
  return { groups: rows, positions, count: batch * positions.reduce((a, b) => a * b, 1) };
}

/** Y [batch, N, ...positions] = Conv(x, W) without bias; W [N, K], row-major. */
export function referenceConv(
  x: ArrayLike<number>,
  shape: readonly number[],
  weight: ArrayLike<number>,
  outputs: number,
  window: ReferenceWindow,
): Float64Array {
  const { groups, count } = referenceRows(x, shape, window);
  const k = weight.length / outputs;
  const area = count / shape[0];
  const y = new Float64Array(count * outputs);
  for (let n = 0; n < outputs; n++) {
    const rows = groups[Math.floor(n / (outputs / groups.length))];
    for (let t = 0; t < count; t++) {
      const at = (Math.floor(t / area) * outputs + n) * area + (t % area);
      for (let i = 0; i < k; i++) y[at] += rows[t * k + i] * weight[n * k + i];
    }
  }
  return y;
}
