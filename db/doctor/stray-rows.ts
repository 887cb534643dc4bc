import { BY_OPERATION, makePartitions } from "../partitions.ts";
import type { Db, Queryable, Tx } from "../pool.ts";
import { KEEP } from "../retention.ts";

/**
 * Rows in default partitions. A week whose rows are there can get no partition of its own any more, so
 * they are moved: the defaults are taken off, the weeks made, and the rows put back in.
 */

export const PARTITIONED = [...BY_OPERATION, "logs"] as const;

/** More than this is moved by a person, in a quiet hour: the tables are locked meanwhile. */
export const MOST_MOVED = 200_000;
const DAY_MS = 86_400_000;

/** Rows of each default partition; counting stops above what would be moved. */
export async function countStrayRows(db: Queryable): Promise<{ table: string; n: number }[]> {
  const counts = PARTITIONED.map(
    (table) =>
      `select '${table}' as table, count(*)::int as n
         from (select from holdfast.${table}_default limit ${MOST_MOVED + 1}) as rows`,
  );
  const { rows } = await db.query<{ table: string; n: number }>(
    `select * from (${counts.join(" union all ")}) as counted where n > 0`,
  );
  return rows;
}

/** Answers how many rows were put back, wherever they went. */
export async function moveStrayRows(db: Db): Promise<number> {
  return db.transaction(
    async (tx) => {
      await tx.query("set local lock_timeout = '5s'");
      await detachDefaults(tx);
      await makePartitions(tx);
      for (const day of await strayDays(tx)) await makePartitions(tx, day);
      let moved = 0;
      for (const table of PARTITIONED) {
        const { rowCount } = await tx.query(
          `insert into holdfast.${table} overriding system value select * from holdfast.${table}_stray`,
        );
        moved += rowCount ?? 0;
        await tx.query(`drop table holdfast.${table}_stray`);
      }
      return moved;
    },
    { statementTimeoutMs: 60_000 },
  );
}

async function detachDefaults(tx: Tx): Promise<void> {
  await tx.query(
    PARTITIONED.map(
      (table) =>
        `alter table holdfast.${table} detach partition holdfast.${table}_default; ` +
        `alter table holdfast.${table}_default rename to ${table}_stray`,
    ).join("; "),
  );
}

const MS_OF_ID = "('x' || substr(replace(operation_id::text, '-', ''), 1, 12))::bit(48)::bigint";

/** Days of rows to be put back; what is out of any sensible time stays in the default partition. */
async function strayDays(tx: Tx): Promise<number[]> {
  const days = [
    ...BY_OPERATION.map((table) => `select ${MS_OF_ID} as ms from holdfast.${table}_stray`),
    `select (extract(epoch from at) * 1000)::bigint from holdfast.logs_stray`,
  ];
  const { rows } = await tx.query<{ day: number }>(
    `select distinct (ms / ${DAY_MS})::int as day from (${days.join(" union all ")}) as at
      where ms between $1 and $2 order by 1`,
    [Date.now() - (KEEP.operations + 30) * DAY_MS, Date.now() + 60 * DAY_MS],
  );
  return rows.map(({ day }) => day * DAY_MS);
}
