import pg from "pg";
import { Conflict, RefusedByPolicy } from "../contracts/errors.ts";
import { ownCapture } from "./locks.ts";
import type { Db, Queryable, Tx } from "./pool.ts";
import type { Relation } from "./search-capture-catalog.ts";
import { readStanding, relationSql, type CaptureFunction } from "./search-capture-standing.ts";
import type { SearchIndex } from "./search-indexes.ts";

/** Takes capture off its tables, and tells who is in the way of a change of a table. */

/** Writers of the table wait as long. */
export const LOCK_TIMEOUT_MS = 3_000;

/** Removes triggers and functions of an index, one table at a time. Safe to repeat. */
export async function dropCapture(
  db: Db,
  index: Pick<SearchIndex, "id" | "schema" | "type">,
  lockTimeoutMs: number,
): Promise<void> {
  const standing = await readStanding(db, index.id);
  const lock = (tx: Tx) => ownCapture(tx, index.schema, index.type);
  const relations = new Map(
    standing.triggers.map((trigger) => [trigger.relation.oid, trigger.relation]),
  );
  for (const relation of relations.values()) {
    const triggers = standing.triggers.filter((one) => one.relation.oid === relation.oid);
    if (!triggers.every(({ owned }) => owned)) continue;
    await changingTable(db, relation, lockTimeoutMs, async (tx, locked) => {
      await lock(tx);
      await locked();
      for (const { name } of triggers) {
        await tx.query(
          `drop trigger if exists ${pg.escapeIdentifier(name)} on ${relationSql(relation)}`,
        );
      }
    });
  }
  // Tables of others keep their triggers until the functions go, which takes the triggers along.
  for (const standing of (await readStanding(db, index.id)).functions) {
    await changingTable(db, undefined, lockTimeoutMs, async (tx, locked) => {
      await lock(tx);
      await locked();
      await dropFunctions(tx, [standing]);
    });
  }
}

export async function dropFunctions(
  tx: Tx,
  functions: readonly Pick<CaptureFunction, "name">[],
): Promise<void> {
  for (const { name } of functions) {
    await tx.query(`drop function if exists holdfast.${name}() cascade`);
  }
}

/**
 * A transaction that changes a table. `work` takes its other locks first, then calls `locked`, from
 * where on nothing is waited for longer than `lockTimeoutMs`.
 * @throws Conflict naming who holds the table; RefusedByPolicy without the right to change it
 */
export async function changingTable(
  db: Db,
  relation: Relation | undefined,
  lockTimeoutMs: number,
  work: (tx: Tx, locked: () => Promise<unknown>) => Promise<void>,
): Promise<void> {
  try {
    await db.transaction((tx) =>
      work(tx, () => tx.query(`set local lock_timeout = ${Math.round(lockTimeoutMs)}`)),
    );
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    const table = relation ? `${relation.schema}.${relation.name}` : "a table of it";
    if (code === "55P03") throw await inTheWay(db, relation, table, lockTimeoutMs);
    if (code === "42501") {
      throw new RefusedByPolicy(`${table} cannot be changed (${message}): ask its owner to do it`);
    }
    throw error;
  }
}

async function inTheWay(
  db: Queryable,
  relation: Relation | undefined,
  table: string,
  lockTimeoutMs: number,
): Promise<Conflict> {
  const { rows } = await db.query<{ who: string }>(
    `select distinct on (l.pid)
            concat_ws(' ', 'connection', l.pid, 'of', a.usename,
                      '(' || nullif(a.application_name, '') || ')',
                      case when a.state like 'idle in transaction%' then 'idles inside a transaction'
                           when a.backend_type like 'autovacuum%' then 'cleans it up'
                           else 'works in a transaction' end,
                      'for', extract(epoch from clock_timestamp() - a.xact_start)::int, 's') as who
       from pg_locks l join pg_stat_activity a on a.pid = l.pid
      where l.locktype = 'relation' and l.relation = $1::oid and l.granted
        and l.database = (select oid from pg_database where datname = current_database())
        and l.pid <> pg_backend_pid() and l.mode not in ('AccessShareLock', 'RowShareLock')
      order by l.pid limit 5`,
    [relation?.oid ?? null],
  );
  const who = rows.map((row) => row.who);
  const by = who.length > 0 ? who.join("; ") : "somebody who has gone since";
  return new Conflict(
    "table-is-busy",
    `${table} could not be locked within ${lockTimeoutMs} ms: it is held by ${by}. ` +
      "Let that end, then run it again",
    { holders: who },
  );
}
