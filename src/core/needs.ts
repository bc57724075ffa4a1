/**
 * What a run needs, as estimated before it starts: for progress displays and the report.
 */

export interface RunNeeds {
  /** Most resident memory. */
  readonly memoryBytes: number;
  readonly disk: {
    /** Activations, statistics and codes beyond the memory limit, in TMPDIR. */
    readonly temporaryBytes: number;
    /** Finished layers; 0 without a checkpoint. */
    readonly checkpointBytes: number;
    readonly outputBytes: number;
  };
  /** Rough, per stage, from counted operations; null when the rows that one sample makes are not known. */
  readonly seconds: Readonly<Record<string, number>> | null;
  /** The layer with the fewest calibration rows per input feature; null when that is not known. */
  readonly rows: {
    readonly layer: string;
    readonly rows: number;
    readonly k: number;
  } | null;
}
