import { isBraked } from "./brakes.ts";
import type { Queryable } from "./pool.ts";

/** How fast work goes, and what has not begun: read for people, never by the work itself. */

/** Items an operation settled in the last `seconds`, by stage, and over how long they were settled. */
export async function recentlyDone(
  db: Queryable,
  operationId: string,
  seconds: number,
): Promise<{ stage: string; n: number; overSeconds: number }[]> {
  const { rows } = await db.query<{ stage: string; n: number; overSeconds: number }>(
    `select d.stage, sum(d.n)::int as n,
            greatest(1, least($2::float8,
              extract(epoch from clock_timestamp() - op.started_at)))::float8 as "overSeconds"
       from holdfast.progress_deltas d
       join holdfast.operations op on op.id = d.operation_id
      where d.operation_id = $1 and d.n > 0
        and d.at > clock_timestamp() - $2 * interval '1 second'
      group by d.stage, op.started_at`,
    [operationId, seconds],
  );
  return rows;
}

export interface FinishedSlot {
  /** 0 is the oldest slot. */
  slot: number;
  completed: number;
  failed: number;
  cancelled: number;
  items: number;
}

/** Operations that ended in the last hour, in twelve slots of five minutes; slots without any are absent. */
export async function finishedInLastHour(
  db: Queryable,
  tenants?: readonly string[],
): Promise<FinishedSlot[]> {
  const { rows } = await db.query<FinishedSlot>(
    `select least(11, 11 - floor(extract(epoch from clock_timestamp() - finished_at) / 300))::int as slot,
            (count(*) filter (where state = 'completed'))::int as completed,
            (count(*) filter (where state = 'failed'))::int as failed,
            (count(*) filter (where state = 'cancelled'))::int as cancelled,
            sum(total)::int as items
       from holdfast.operations
      where finished_at > clock_timestamp() - interval '1 hour'
        and ($1::text[] is null or tenant = any($1))
      group by 1 order by 1`,
    [tenants ?? null],
  );
  return rows.filter((row) => row.slot >= 0);
}

// A try moves due_at on; until the first one it says since when the row waits.
const DUE_SINCE = `case when op.start_attempts = 0 then op.due_at
  else greatest(op.accepted_at, op.start_after) end`;

/**
 * Accepted operations that the relay could start and nobody has, longer than `seconds`: Temporal or
 * every worker is away. Braked, paused and put-off ones are not among them. Counts stop at 10,000.
 */
export async function overdueStarts(
  db: Queryable,
  seconds: number,
): Promise<{ n: number; tried: number; oldest: Date | null }> {
  const { rows } = await db.query<{ n: number; tried: number; oldest: Date | null }>(
    `select count(*)::int as n, (count(*) filter (where tried > 0))::int as tried, min(since) as oldest
       from (select op.start_attempts as tried, ${DUE_SINCE} as since
               from holdfast.operations op
              where op.state = 'accepted' and op.paused_at is null and not ${isBraked("op")}
                and ${DUE_SINCE} < clock_timestamp() - $1 * interval '1 second'
              limit 10000) as overdue`,
    [seconds],
  );
  return rows[0]!;
}
