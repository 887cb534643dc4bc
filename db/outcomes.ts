import type { Outcome } from "../contracts/operation.ts";
import { kept } from "../contracts/text.ts";
import { isOpen } from "./items.ts";
import type { Queryable, Tx } from "./pool.ts";

/** Outcomes: the other half of the ledger. Insert-only, one per item and generation. */

/** SQL: the generation that all items of operation `$1` were last asked for in; 1 for all but jobs. */
const BASE_GENERATION = `coalesce(
  (select base_generation from holdfast.jobs where operation_id = $1), 1)`;

export interface Settlement {
  itemNo: number;
  outcome: Outcome;
  reason?: string | undefined;
  attempt: number;
}

/**
 * Settles items and answers which of them this call settled: effects are written for those only.
 * A repeat, a zombie or a second attempt gets an empty answer and changes nothing. Written in order of
 * items: two who settle the same ones at once wait for each other one way.
 */
export async function settleItems(
  tx: Tx,
  operation: { id: string; generation: number },
  settlements: readonly Settlement[],
  by: string,
): Promise<Set<number>> {
  const { rows } = await tx.query<{ item_no: number }>(
    `insert into holdfast.outcomes
       (operation_id, item_no, generation, outcome, reason, attempt, settled_by)
     select i.operation_id, i.no, $2, s.outcome, s.reason, s.attempt, $7
       from unnest($3::int[], $4::text[], $5::text[], $6::smallint[])
            as s(item_no, outcome, reason, attempt)
       join holdfast.items i on i.operation_id = $1 and i.no = s.item_no
      where i.no = any($3) and ${isOpen("i", "$2", "$1")}
      order by i.no
     on conflict do nothing
     returning item_no`,
    [
      operation.id,
      operation.generation,
      settlements.map((settlement) => settlement.itemNo),
      settlements.map((settlement) => settlement.outcome),
      settlements.map((settlement) =>
        settlement.reason === undefined ? null : kept(settlement.reason),
      ),
      settlements.map((settlement) => settlement.attempt),
      by,
    ],
  );
  return new Set(rows.map((row) => row.item_no));
}

/** Closes every open item of a generation with one outcome. Answers how many. */
export async function settleOpenItems(
  tx: Tx,
  operation: { id: string; generation: number },
  outcome: Outcome,
  reason: string,
  by: string,
): Promise<number> {
  const { rowCount } = await tx.query(
    `insert into holdfast.outcomes
       (operation_id, item_no, generation, outcome, reason, settled_by)
     select i.operation_id, i.no, $2, $3, $4, $5
       from holdfast.items i
      where i.operation_id = $1 and ${isOpen("i", "$2", "$1")}
     on conflict do nothing`,
    [operation.id, operation.generation, outcome, kept(reason), by],
  );
  return rowCount ?? 0;
}

/** Items by their current outcome: that of the newest generation that settled them and stands. */
export async function countOutcomes(
  db: Queryable,
  operationId: string,
): Promise<Partial<Record<Outcome, number>>> {
  const { rows } = await db.query<{ outcome: Outcome; n: number }>(
    `select outcome, count(*)::int as n
       from (select distinct on (item_no) outcome from holdfast.outcomes
              where operation_id = $1 and generation >= ${BASE_GENERATION}
              order by item_no, generation desc) as current
      group by outcome`,
    [operationId],
  );
  return Object.fromEntries(rows.map((row) => [row.outcome, row.n]));
}

/** Why items of the newest generation failed, most common first. At most 20 reasons. */
export async function failureReasons(
  db: Queryable,
  operationId: string,
  generation: number,
): Promise<{ reason: string; count: number }[]> {
  const { rows } = await db.query<{ reason: string; count: number }>(
    `select coalesce(reason, outcome) as reason, count(*)::int as count
       from holdfast.outcomes
      where operation_id = $1 and generation = $2 and outcome in ('failed', 'lost')
      group by 1 order by 2 desc, 1 limit 20`,
    [operationId, generation],
  );
  return rows;
}
