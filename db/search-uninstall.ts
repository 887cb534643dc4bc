import { heldKeyPrefix } from "./index-held.ts";
import { INDEX_LANES, INDEX_QUEUE } from "./index-marks.ts";
import { ownCapture, ownIndexLanes } from "./locks.ts";
import type { Db, Queryable, Tx } from "./pool.ts";
import { dropCapture, dropFunctions, LOCK_TIMEOUT_MS } from "./search-capture-drop.ts";
import { readStanding } from "./search-capture-standing.ts";
import type { SearchIndex } from "./search-indexes.ts";

/**
 * Removes every trace of an index: triggers and functions, its row, marks, index rows, quarantine and
 * gaps. Marks come to an end first, then the index itself under its lanes' locks, so that no drain can
 * write after it; what is many goes last, in bounded statements, and a repeat goes on where one stopped.
 */

const ALL_LANES = Array.from({ length: INDEX_LANES }, (_, lane) => lane);
/** Rows of one statement. */
const ROWS = 10_000;

export interface UninstallOptions {
  /** How long a table's lock is waited for. */
  lockTimeoutMs?: number;
  /** Part of the transaction that removes the index. */
  record?: (tx: Tx) => Promise<void>;
}

/** @throws Conflict naming who holds a table; then the index is as it was, or without triggers */
export async function uninstallIndex(
  db: Db,
  index: SearchIndex,
  options: UninstallOptions = {},
): Promise<void> {
  const { id, schema, type } = index;
  await dropCapture(db, index, options.lockTimeoutMs ?? LOCK_TIMEOUT_MS);
  await db.transaction(async (tx) => {
    await ownCapture(tx, schema, type);
    await ownIndexLanes(tx, schema, ALL_LANES);
    await tx.query("delete from holdfast.search_indexes where id = $1", [id]);
    await tx.query("delete from holdfast.index_gaps where schema_name = $1 and type = $2", [
      schema,
      type,
    ]);
    await tx.query(
      `delete from holdfast.quarantine
        where queue = $1 and scope = $2 and starts_with(key, $3)`,
      [INDEX_QUEUE, schema, heldKeyPrefix(type)],
    );
    await options.record?.(tx);
  });
  await deleteAll(db, "index_marks", "lane = any ($2) and schema_name = $3 and type = $4", [
    ALL_LANES,
    schema,
    type,
  ]);
  await deleteAll(db, "index_rows", "index_id = $2", [id]);
}

/** What is left of indexes that nobody knows any more, as after a crash or a restored dump. */
export async function removeStrayTraces(db: Db): Promise<void> {
  const { rows } = await db.query<{ id: number }>("select id from holdfast.search_indexes");
  const known = rows.map(({ id }) => `capture_${id}_`);
  const { functions } = await readStanding(db, null);
  const stray = functions.filter(({ name }) => !known.some((prefix) => name.startsWith(prefix)));
  await db.transaction(async (tx) => {
    await tx.query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`);
    await dropFunctions(tx, stray);
  });
  const unknown = (table: string) => `not exists (select from holdfast.search_indexes i
    where i.schema_name = ${table}.schema_name and i.type = ${table}.type)`;
  await deleteAll(db, "index_marks", unknown("index_marks"), []);
  await deleteAll(db, "index_gaps", unknown("index_gaps"), []);
  await deleteAll(db, "quarantine", "queue = $2", [INDEX_QUEUE]);
  await deleteAll(
    db,
    "index_rows",
    "not exists (select from holdfast.search_indexes i where i.id = index_id)",
    [],
  );
}

async function deleteAll(
  db: Queryable,
  table: "index_marks" | "index_rows" | "index_gaps" | "quarantine",
  which: string,
  values: unknown[],
): Promise<void> {
  for (;;) {
    const { rowCount } = await db.query(
      `delete from holdfast.${table} where ctid = any (array(
         select ctid from holdfast.${table} where ${which} limit $1))`,
      [ROWS, ...values],
    );
    if ((rowCount ?? 0) < ROWS) return;
  }
}
