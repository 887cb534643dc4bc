import type { Queryable, Tx } from "./pool.ts";

/**
 * Progress without a hot row: writers append deltas, upkeep folds them, readers add both. Nobody
 * updates a row per item, so writers never wait for each other.
 */

export interface Delta {
  stage: string;
  outcome: string;
  n: number;
}

/**
 * Appends counts under a source that is unique in its operation (an activity's page, a post's key).
 * False: this source was counted before, and nothing changed.
 */
export async function addDeltas(
  tx: Tx,
  operationId: string,
  source: string,
  deltas: readonly Delta[],
  answer?: unknown,
): Promise<boolean> {
  const [first, ...others] = deltas;
  if (!first) return true;
  const told = answer === undefined ? null : JSON.stringify(answer);
  if (others.length === 0) return addDelta(tx, operationId, source, first, told);
  const { rows } = await tx.query<{ counted: boolean }>(
    `with first as (
       insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n, answer)
       values ($1, $2, $3, $4, $5, $6) on conflict do nothing
       returning source
     ), others as (
       insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n, place)
       select $1, first.source, d.stage, d.outcome, d.n, d.place
         from first
        cross join unnest($7::text[], $8::text[], $9::int[])
                     with ordinality as d(stage, outcome, n, place)
     )
     select exists (select from first) as counted`,
    [
      operationId,
      source,
      first.stage,
      first.outcome,
      first.n,
      told,
      others.map((delta) => delta.stage),
      others.map((delta) => delta.outcome),
      others.map((delta) => delta.n),
    ],
  );
  return rows[0]!.counted;
}

// Nearly every page has one count, and a plain list of values is planned at half the price.
async function addDelta(
  tx: Tx,
  operationId: string,
  source: string,
  { stage, outcome, n }: Delta,
  told: string | null,
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n, answer)
     values ($1, $2, $3, $4, $5, $6) on conflict do nothing`,
    [operationId, source, stage, outcome, n, told],
  );
  return rowCount === 1;
}

/** Exact counts of some operations, by stage and outcome: what is folded plus what is not yet. */
export async function readProgress(
  db: Queryable,
  operationIds: readonly string[],
): Promise<Map<string, Delta[]>> {
  const { rows } = await db.query<Delta & { operation_id: string }>(
    `select operation_id, stage, outcome, sum(n)::float8 as n
       from (select operation_id, stage, outcome, n from holdfast.progress
              where operation_id = any($1)
             union all
             select operation_id, stage, outcome, n from holdfast.progress_deltas
              where operation_id = any($1) and not folded) as counted
      group by 1, 2, 3
      having sum(n) <> 0
      order by 2, 3`,
    [operationIds],
  );
  const byOperation = new Map<string, Delta[]>();
  for (const { operation_id, stage, outcome, n } of rows) {
    const deltas = byOperation.get(operation_id) ?? [];
    deltas.push({ stage, outcome, n });
    byOperation.set(operation_id, deltas);
  }
  return byOperation;
}

/** Whether there is anything to fold; asked far more often than there is. */
export async function hasUnfolded(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ unfolded: boolean }>(
    `select exists (select from holdfast.progress_deltas where not folded) as unfolded`,
  );
  return rows[0]!.unfolded;
}

/** Folds up to `limit` deltas in one statement. Answers how many it folded. */
export async function foldDeltas(tx: Tx, limit = 5_000): Promise<number> {
  const { rows } = await tx.query<{ folded: number }>(
    `with picked as (
       select operation_id, source, place from holdfast.progress_deltas
        where not folded
        limit $1
        for update skip locked
     ), folded as (
       update holdfast.progress_deltas d set folded = true
         from picked p
        where d.operation_id = p.operation_id and d.source = p.source and d.place = p.place
       returning d.operation_id, d.stage, d.outcome, d.n
     ), summed as (
       insert into holdfast.progress (operation_id, stage, outcome, n)
       select operation_id, stage, outcome, sum(n) from folded
        group by 1, 2, 3 order by 1, 2, 3
       on conflict (operation_id, stage, outcome)
       do update set n = progress.n + excluded.n
     )
     select count(*)::int as folded from folded`,
    [limit],
  );
  return rows[0]!.folded;
}

/**
 * Takes what is run again out of the counts, when a new generation begins: of a job that is asked for
 * all its items, everything that was counted and summed (`setRunAgain` comes first); else the ledger's
 * current outcomes that may be run again.
 */
export async function uncountRerun(
  tx: Tx,
  operationId: string,
  generation: number,
  stage: string,
): Promise<void> {
  await tx.query(
    `with all_again as (
       select from holdfast.jobs where operation_id = $1 and base_generation = $2
     ), counted as (
       -- A sum may be larger than one delta holds.
       select outcome, stage, -least(n - part * 2000000000, 2000000000)::int as n
         from (select stage, outcome, sum(n)::bigint as n
                 from (select stage, outcome, n from holdfast.progress where operation_id = $1
                       union all
                       select stage, outcome, n from holdfast.progress_deltas
                        where operation_id = $1 and not folded) as each
                where stage in ($3, 'sums') and exists (select from all_again)
                group by stage, outcome having sum(n) > 0) as shown
        cross join lateral generate_series(0, (n - 1) / 2000000000) as part
       union all
       select outcome, $3, -count(*)::int
         from (select distinct on (item_no) outcome from holdfast.outcomes
                where operation_id = $1 and not exists (select from all_again)
                order by item_no, generation desc) as current
        where outcome in ('failed', 'lost', 'cancelled')
        group by outcome
     )
     insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n, place)
     select $1, 'generation/' || $2::int, stage, outcome, n,
            row_number() over (order by stage, outcome) - 1
       from counted
     on conflict do nothing`,
    [operationId, generation, stage],
  );
}

/**
 * Takes back what some sources counted, when the work they counted begins anew: those of a stage
 * whose names begin with `prefix`.
 */
export async function uncountSources(
  tx: Tx,
  operationId: string,
  stage: string,
  prefix: string,
  source: string,
): Promise<void> {
  await tx.query(
    `insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n, place)
     select $1, $4, stage, outcome, -sum(n)::int, row_number() over (order by outcome) - 1
       from holdfast.progress_deltas
      where operation_id = $1 and stage = $2 and starts_with(source, $3)
      group by stage, outcome
     having sum(n) <> 0
     on conflict do nothing`,
    [operationId, stage, prefix, source],
  );
}
