import { BUILDER_IS_OVER, NO_BUILD } from "./index-build.ts";
import { takeDuty } from "./locks.ts";
import type { Db, Queryable, Tx } from "./pool.ts";

/** What builds leave behind: those nobody works at, and rows that nobody reads. */

export interface AbandonedBuild {
  id: number;
  schema: string;
  type: string;
  operationId: string;
}

/** Builds whose operation has ended without them, or is gone. */
export async function findAbandonedBuilds(db: Queryable, limit: number): Promise<AbandonedBuild[]> {
  const { rows } = await db.query<AbandonedBuild>(
    `select id, schema_name as schema, type, building_operation as "operationId"
       from holdfast.search_indexes i
      where i.building is not null and ${BUILDER_IS_OVER("i")} order by id limit $1`,
    [limit],
  );
  return rows;
}

/** Ends builds that nobody works at. Answers how many. */
export async function abandonBuilds(db: Queryable): Promise<number> {
  const { rowCount } = await db.query(
    `update holdfast.search_indexes i set ${NO_BUILD}
      where i.building is not null and ${BUILDER_IS_OVER("i")}`,
  );
  return rowCount ?? 0;
}

export interface DeadRows {
  indexId: number;
  generation: number;
}

/** Generations with rows that are neither searched nor built: one probe of the index for each. */
export async function findDeadGenerations(db: Queryable): Promise<DeadRows[]> {
  const { rows } = await db.query<DeadRows>(
    `with recursive seen as (
       (select index_id, generation from holdfast.index_rows
         order by index_id, generation limit 1)
       union all
       select following.index_id, following.generation from seen
        cross join lateral (
          select r.index_id, r.generation from holdfast.index_rows r
           where (r.index_id, r.generation) > (seen.index_id, seen.generation)
           order by r.index_id, r.generation limit 1) following
     )
     select s.index_id as "indexId", s.generation from seen s
      where ${IS_DEAD("s.index_id", "s.generation")} order by 1, 2`,
  );
  return rows;
}

const IS_DEAD = (index: string, generation: string) => `not exists (
  select from holdfast.search_indexes i
   where i.id = ${index} and ${generation} in (i.generation, i.building))`;

/**
 * Deletes up to `limit` rows of a dead generation. Answers how many. Nobody makes it a living one
 * meanwhile: a build would have to change the locked row.
 */
async function deleteDeadRows(tx: Tx, dead: DeadRows, limit: number): Promise<number> {
  await tx.query("select from holdfast.search_indexes where id = $1 for share", [dead.indexId]);
  const { rowCount } = await tx.query(
    `delete from holdfast.index_rows where ctid in (
       select r.ctid from holdfast.index_rows r
        where r.index_id = $1 and r.generation = $2 and ${IS_DEAD("$1", "$2")} limit $3)`,
    [dead.indexId, dead.generation, limit],
  );
  return rowCount ?? 0;
}

const ROWS_AT_ONCE = 10_000;
/** One round ends after about this long; what is left waits for the next. */
const ROUND_MS = 30_000;

/**
 * Ends builds that nobody works at and deletes the rows of dead generations, a bounded number in each
 * transaction. One process at a time does it. Answers what went.
 */
export async function sweepBuilds(
  db: Db,
  { rowsAtOnce = ROWS_AT_ONCE, roundMs = ROUND_MS } = {},
): Promise<{ builds: number; rows: number }> {
  const builds = await abandonBuilds(db);
  let rows = 0;
  const roundEnds = Date.now() + roundMs;
  for (const dead of await findDeadGenerations(db)) {
    let gone: number;
    do {
      gone = await db.transaction(async (tx) =>
        (await takeDuty(tx, "builds")) ? deleteDeadRows(tx, dead, rowsAtOnce) : 0,
      );
      rows += gone;
      if (Date.now() > roundEnds) return { builds, rows };
    } while (gone === rowsAtOnce);
  }
  return { builds, rows };
}
