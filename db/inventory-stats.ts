import { readCounts, type SourceCounts } from "./plan-counts.ts";
import { DUE_PLACES, ofOldestQueued } from "./plan-due.ts";
import type { Queryable } from "./pool.ts";

/** Entities in numbers, of the whole installation; each is counted up to a bound. */
export interface InventoryStats {
  states: { state: string; n: number }[];
  /** When the oldest that is due, and may be worked, was taken in. */
  oldestDue: Date | null;
  heldBranches: number;
  /** How plans ended, by source: sums that only grow. */
  sources: SourceCounts[];
}

export const COUNTED_TO = 10_000;

/** What is still to come, or waits for somebody, each from its small index. */
const STATES = {
  queued: "state = 1 and operation is null",
  open: "state = 2",
  pending_retry: "state = 9 and operation is null",
  leased: "lease_until is not null",
};

export async function readInventoryStats(db: Queryable): Promise<InventoryStats> {
  const { rows } = await db.query<{
    states: Record<string, number>;
    oldest: Date | null;
    held: number;
  }>(
    `select jsonb_build_object(${Object.entries(STATES)
      .map(
        ([name, where]) =>
          `'${name}', (select count(*) from (select from holdfast.entities where ${where} limit ${COUNTED_TO}) s)`,
      )
      .join(", ")}) as states,
       (select min(e.accepted_at) from (${DUE_PLACES}) p
         cross join lateral ${ofOldestQueued("p.tenant", "p.branch", "accepted_at")} e) as oldest,
       (select count(*)::int from holdfast.inventory_guards where held_at is not null) as held`,
  );
  const { states, oldest, held } = rows[0]!;
  return {
    states: Object.entries(states).map(([state, n]) => ({ state, n })),
    oldestDue: oldest,
    heldBranches: held,
    sources: await readCounts(db),
  };
}
