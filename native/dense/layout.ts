/**
 * How the dense float64 kernels lay matrices out. Addresses and strides are bytes.
 *
 *   strips: lines of a matrix in fours, [strip][k][4 lines]; k runs over what a product sums
 *   upper panels: an upper triangular matrix by columns, [panel of 4 columns][rows 0 .. end of the panel][4 columns]
 *
 * A panel is a strip whose length grows with its number, so one formula gives the address of both. Lines and sizes are
 * padded to fours: lines with zeros, triangles with ones on the diagonal.
 */

/** Lines of a strip, columns of a panel. */
export const stripLines = 4;
/** Bytes of one k of a strip, of one row of a panel. */
export const stripRowBytes = 32;

/** Lines, padded to whole strips. */
export const paddedLines = (lines: number): number => Math.ceil(lines / stripLines) * stripLines;

/** Where strip i lies: start + i · step + i² · growth. */
export interface StripAddress {
  readonly step: number;
  readonly growth: number;
}

/** Strips that all sum over `k`. */
export const stripsOf = (k: number): StripAddress => ({ step: stripRowBytes * k, growth: 0 });

/** Panels of an upper triangular matrix: panel i begins at 64 · i · (i + 1). */
export const upperPanels: StripAddress = { step: 64, growth: 64 };

/** Bytes of an upper triangular matrix. @param size - a multiple of 4. */
export const upperPanelBytes = (size: number): number => upperPanelOffset(size / stripLines);

/** Byte offset of a panel. */
export const upperPanelOffset = (panel: number): number => 64 * panel * (panel + 1);
