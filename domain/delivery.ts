import { backoffMs } from "./faults.ts";

/**
 * What follows from one try at a delivery. Waits double from 5 s to an hour, so that the tries
 * together last about a day: an endpoint that is away for a night misses nothing.
 */

export const DELIVERY = {
  maxAttempts: 32,
  baseMs: 5_000,
  capMs: 3_600_000,
} as const;

export interface Answer {
  /** HTTP status; absent when there was no answer. */
  status?: number;
}

export type DeliveryVerdict =
  | { state: "delivered" }
  | { state: "pending"; waitMs: number }
  | { state: "dead" }
  /** The receiver says that it is gone for good: it is asked no more. */
  | { state: "dead"; disable: true };

/** `attempt`: how many tries this one makes, 1 or more. `jitter`: 0 to 1, brought by the caller. */
export function afterTry(attempt: number, { status }: Answer, jitter = 1): DeliveryVerdict {
  if (status !== undefined && status >= 200 && status < 300) return { state: "delivered" };
  if (status === 410) return { state: "dead", disable: true };
  if (attempt >= DELIVERY.maxAttempts) return { state: "dead" };
  const { baseMs, capMs } = DELIVERY;
  return { state: "pending", waitMs: backoffMs(attempt, { baseMs, capMs, jitter }) };
}
