/** What workflows and activities say to each other. Zod-free; references and counts only (< 4 KB). */

/** The one argument of every operation workflow. */
export interface OperationRef {
  kind: string;
  id: string;
  tenant: string;
  /** What fairness and caps go by inside a tenant; the bank of a retain. May be empty. */
  scope: string;
  generation: number;
  /** Items in the whole operation. */
  total: number;
  /** 1 (first) to 5. */
  priority: number;
  /** W3C traceparent of the accept, so that activities join its trace. */
  trace?: string;
}

/** Contiguous sub-batches owned by one child; 1-based, inclusive. */
export interface BatchRange {
  no: number;
  from: number;
  to: number;
}

/** What `begin` answers. `gone`: the row is terminal, of another generation, or erased. */
export type Begun =
  | { state: "running"; ranges: BatchRange[]; window: number }
  | { state: "gone"; was: string };

/** Why work on a range stopped for now. Times are epoch milliseconds. */
export interface WorkReport {
  /** Items settled by this call. */
  done: number;
  /** No open item is left in the range. */
  complete: boolean;
  /** Open items exist, none is due before this. */
  nextDueAt?: number;
  /** The row says stop: the operation was cancelled, paused or braked, or is gone. */
  stop?: "cancelled" | "paused" | "gone";
  /** What it waits for, in one line, for whoever looks at the workflow. */
  waitsFor?: string;
}

/** What a look at a job answers. */
export interface JobLook extends WorkReport {
  /** Calls of our own workers that there is work for now, side by side. */
  lanes: number;
}

export interface Finished {
  state: "completed" | "failed" | "cancelled" | "gone";
  reason?: string;
  counts: Record<string, number>;
}

/** What a drain's activity answers. */
export interface Drained {
  done: number;
  more: boolean;
  /** Epoch milliseconds of the next due row, when there is one later. */
  nextDueAt?: number;
}

export interface DrainRef {
  queue: string;
  lane: number;
}

/** The relay's one signal: look at the row. */
export const WAKE_SIGNAL = "wake";
