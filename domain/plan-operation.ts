/** When a plan that waits for people is told of again, and when it ends. Times in ms since 1970. */

export interface PlanTimes {
  /** When the first people were told. */
  planned_at: Date | null;
  escalated_at: Date | null;
  expires_at: Date | null;
}

/** Half of the time there is for a decision. */
function escalatesAt({ planned_at, expires_at }: PlanTimes): number {
  if (planned_at === null || expires_at === null) return Infinity;
  return (planned_at.getTime() + expires_at.getTime()) / 2;
}

export function isExpired({ expires_at }: PlanTimes, now: number): boolean {
  return expires_at !== null && now >= expires_at.getTime();
}

/** Whether people are to be told again, which they are once. */
export function escalationOf(times: PlanTimes, now: number): boolean {
  return times.escalated_at === null && now >= escalatesAt(times);
}

/** When there is something to do for it that nobody would tell. */
export function nextLook(times: PlanTimes, now: number): number {
  const moments = [
    ...(times.escalated_at === null ? [escalatesAt(times)] : []),
    times.expires_at?.getTime() ?? Infinity,
  ];
  return Math.max(now, Math.min(...moments, now + MOST_MS));
}

const MOST_MS = 86_400_000;

/** `+12 ~3 -0`, as it stands in the Temporal UI. */
export function countsLine(changes: { create: number; update: number; delete: number }): string {
  return `+${changes.create} ~${changes.update} -${changes.delete}`;
}
