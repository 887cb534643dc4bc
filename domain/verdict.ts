import type { Outcome, State } from "../contracts/operation.ts";

export type OutcomeCounts = Partial<Record<Outcome, number>>;

export interface CauseCount {
  reason: string;
  count: number;
}

export interface Verdict {
  state: Extract<State, "completed" | "failed" | "cancelled">;
  /** Why, in one line; absent when all went well. */
  reason?: string;
}

/** Longest cause that is repeated in a verdict, in code units. */
const MAX_CAUSE = 1_000;

/**
 * The end of an operation, from the outcomes of all its items: `failed` when any item failed or was
 * lost, with the most common cause; else `cancelled` when items were cancelled, or when it was
 * cancelled before it had any; else `completed`. A cancel that came after the last item changes
 * nothing.
 */
export function verdictOf(
  counts: OutcomeCounts,
  cancelRequested: boolean,
  causes: readonly CauseCount[] = [],
): Verdict {
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const failed = counts.failed ?? 0;
  const lost = counts.lost ?? 0;
  const cancelled = counts.cancelled ?? 0;

  if (failed + lost > 0) {
    const parts = [
      failed > 0 ? `${failed} failed` : "",
      lost > 0 ? `${lost} lost` : "",
      cancelled > 0 ? `${cancelled} cancelled` : "",
    ].filter(Boolean);
    const cause = mostCommonCause(causes);
    return {
      state: "failed",
      reason: `of ${items(total)}, ${parts.join(", ")}${cause ? `: ${describe(cause, failed + lost)}` : ""}`,
    };
  }
  if (cancelled > 0 || (cancelRequested && total === 0)) {
    const when = total === 0 ? "before it had items" : `with ${cancelled} of ${items(total)} open`;
    return {
      state: "cancelled",
      reason: cancelRequested ? `cancelled on request, ${when}` : `ended early, ${when}`,
    };
  }
  return { state: "completed" };
}

/**
 * The cause with the highest count; equal reasons are summed first. Of equally common causes the
 * one that sorts first wins, whatever order they come in.
 */
export function mostCommonCause(causes: readonly CauseCount[]): CauseCount | undefined {
  const sums = new Map<string, number>();
  for (const { reason, count } of causes) {
    if (count > 0) sums.set(reason, (sums.get(reason) ?? 0) + count);
  }
  let best: CauseCount | undefined;
  for (const [reason, count] of sums) {
    const wins = !best || count > best.count || (count === best.count && reason < best.reason);
    if (wins) best = { reason, count };
  }
  return best;
}

function describe(cause: CauseCount, among: number): string {
  const reason =
    cause.reason.length > MAX_CAUSE ? `${cause.reason.slice(0, MAX_CAUSE)}…` : cause.reason;
  return cause.count < among ? `mostly ${reason} (${cause.count} times)` : reason;
}

function items(count: number): string {
  return count === 1 ? "1 item" : `${count} items`;
}
