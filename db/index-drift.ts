import type { SearchRegistry } from "../domain/search.ts";
import { trySource, type Indexed } from "./index-apply.ts";
import { heldKeyPrefix } from "./index-held.ts";
import { ALL_LANES } from "./index-lanes.ts";
import { INDEX_QUEUE, markWholeType } from "./index-marks.ts";
import { stampOf, type IndexSources } from "./index-sources.ts";
import { ownIndexLanes, takeDuty } from "./locks.ts";
import { inSavepoint, type Db, type Queryable, type Tx } from "./pool.ts";
import { dropCapture, LOCK_TIMEOUT_MS } from "./search-capture-drop.ts";
import { INDEX_COLUMNS, type SearchIndex } from "./search-indexes.ts";

/**
 * Indexes whose source is not what it was: a column renamed, a table dropped, a schema gone or made
 * anew. While a source cannot be read its index rows stay as they are; when it can be again, the whole
 * type is brought up to date.
 */

/** How an index stands, as a batch needs to know it. */
export interface IndexState extends SearchIndex {
  /** Drifted, and it is time to look whether it still is. */
  retryIsDue: boolean;
  stamp: string | null;
}

export interface SchemaState {
  /** Absent: there is no such schema. */
  oid: number | null;
  /** Some object of the schema is held in quarantine. */
  hasHeld: boolean;
  indexes: ReadonlyMap<string, IndexState>;
}

/** Asked after the lanes are owned: what stands then holds to the end of the transaction. */
export async function readSchemaState(
  db: Queryable,
  { types }: SearchRegistry,
  schema: string,
  names: readonly string[],
): Promise<SchemaState> {
  const tables = names.map((name) => types.get(name)?.table ?? null);
  const { rows } = await db.query<
    IndexState & { wanted: string; oid: number | null; hasHeld: boolean }
  >(
    `select ${INDEX_COLUMNS}, wanted.named as wanted, ${stampOf("$1", "wanted.table")} as stamp,
            drifted_at is not null and coalesce(retry_at <= clock_timestamp(), true) as "retryIsDue",
            (select oid::int8::float8 from pg_namespace where nspname = $1) as oid,
            exists (select from holdfast.quarantine
                     where queue = '${INDEX_QUEUE}' and scope = $1) as "hasHeld"
       from unnest($2::text[], $3::text[]) as wanted(named, "table")
       left join holdfast.search_indexes i on i.schema_name = $1 and i.type = wanted.named`,
    [schema, names, tables],
  );
  const indexes = rows.filter((row) => row.id !== null);
  return {
    oid: rows[0]?.oid ?? null,
    hasHeld: rows[0]?.hasHeld ?? false,
    indexes: new Map(indexes.map((row) => [row.type, row])),
  };
}

export async function schemaOid(db: Queryable, schema: string): Promise<number | undefined> {
  const { rows } = await db.query<{ oid: number }>(
    "select oid::int8::float8 as oid from pg_namespace where nspname = $1",
    [schema],
  );
  return rows[0]?.oid;
}

// Not there, not of that type, or not ours to read: what an installation that moved on answers.
const UNREADABLE = /^42/;

/** True of an error that reading a source may answer once the source has changed. */
export function isUnreadable(error: unknown): boolean {
  const { code, name } = error as { code?: string; name?: string };
  return name === "NotFound" || name === "RefusedByPolicy" || UNREADABLE.test(code ?? "");
}

/** Why a source cannot be read, or undefined when it can. The transaction goes on either way. */
export async function whyUnreadable(tx: Tx, indexed: Indexed): Promise<string | undefined> {
  try {
    await inSavepoint(tx, () => trySource(tx, indexed));
    return undefined;
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    return (error as Error).message;
  }
}

const RETRY_AFTER_S = 60;

/** Its rows stay as they are until the source can be read again. */
export async function setDrifted(tx: Tx, index: SearchIndex, reason: string): Promise<void> {
  await tx.query(
    `update holdfast.search_indexes
        set drifted_at = coalesce(drifted_at, clock_timestamp()), drift_reason = $2,
            retry_at = clock_timestamp() + $3 * interval '1 second'
      where id = $1`,
    [index.id, reason, RETRY_AFTER_S],
  );
}

/** The source can be read again: what was missed is made up for by a walk over the whole type. */
export async function clearDrifted(tx: Tx, index: SearchIndex): Promise<void> {
  const { rowCount } = await tx.query(
    `update holdfast.search_indexes set drifted_at = null, drift_reason = null, retry_at = null
      where id = $1 and drifted_at is not null`,
    [index.id],
  );
  if (rowCount) await markWholeType(tx, index.schema, index.type);
}

const DRIFTED_AT_ONCE = 100;

/**
 * Indexes of schemas that are gone or made anew while nobody wrote there: a mark lets the drain see to
 * them. Answers how many.
 */
export async function markReplaced(db: Db): Promise<number> {
  return db.transaction(async (tx) => {
    if (!(await takeDuty(tx, "search schemas"))) return 0;
    const { rows } = await tx.query<{ schema: string; type: string }>(
      `select schema_name as schema, type from holdfast.search_indexes i
        where not exists (select from pg_namespace n
                           where n.nspname = i.schema_name and n.oid = i.schema_oid)
          and not exists (select from holdfast.index_marks m
                           where m.lane = any ($1::smallint[]) and m.schema_name = i.schema_name)
        order by schema_name, type limit ${DRIFTED_AT_ONCE}`,
      [ALL_LANES],
    );
    for (const { schema, type } of rows) await markWholeType(tx, schema, type);
    return rows.length;
  });
}

/** Looks again at drifted indexes whose time has come. Answers how many can be read again. */
export async function retryDrifted(
  db: Db,
  registry: SearchRegistry,
  sources: IndexSources,
): Promise<number> {
  return db.transaction(async (tx) => {
    if (!(await takeDuty(tx, "search drift"))) return 0;
    const { rows } = await tx.query<IndexState>(
      `select ${INDEX_COLUMNS} from holdfast.search_indexes
        where drifted_at is not null and retry_at <= clock_timestamp()
        order by retry_at limit ${DRIFTED_AT_ONCE}`,
    );
    let cleared = 0;
    // In the order in which the drain takes rows of indexes that share a schema.
    const indexes = rows.toSorted((a, b) =>
      `${a.schema}\0${a.type}` < `${b.schema}\0${b.type}` ? -1 : 1,
    );
    for (const index of indexes) {
      const reason = await whyStillDrifted(tx, registry, sources, index);
      if (reason === undefined) {
        await clearDrifted(tx, index);
        cleared++;
      } else await setDrifted(tx, index, reason);
    }
    return cleared;
  });
}

export const UNREGISTERED = "the type is not registered in this configuration";

/** The reason as it is now; undefined: it can be read. */
export async function whyStillDrifted(
  tx: Tx,
  registry: SearchRegistry,
  sources: IndexSources,
  index: SearchIndex,
): Promise<string | undefined> {
  const type = registry.types.get(index.type);
  if (!type) return UNREGISTERED;
  try {
    return await whyUnreadable(tx, await sources.get(tx, index.schema, type, null));
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    return (error as Error).message;
  }
}

const PURGED_AT_ONCE = 20_000;

export interface Settled {
  /** There is more to remove: ask again. */
  more: boolean;
  /** What became of it, in words. */
  news: string[];
}

/**
 * What becomes of a schema that is gone or another than it was. Tables that bear our triggers came back
 * with a dump: the index goes on with them. Of all others marks, index rows and quarantine are removed,
 * in bounded steps.
 */
export async function settleSchema(
  db: Db,
  registry: SearchRegistry,
  schema: string,
): Promise<Settled> {
  const removed: SearchIndex[] = [];
  const settled = await db.transaction(async (tx) => {
    await ownIndexLanes(tx, schema, ALL_LANES);
    const { rows } = await tx.query<SearchIndex & { oid: number | null }>(
      `select ${INDEX_COLUMNS}, (select oid::int8::float8 from pg_namespace where nspname = $1) as oid
         from holdfast.search_indexes
        where schema_name = $1
          and schema_oid is distinct from (select oid from pg_namespace where nspname = $1)
        order by type`,
      [schema],
    );
    const news: string[] = [];
    for (const index of rows) {
      const table = registry.types.get(index.type)?.table;
      if (index.oid !== null && table !== undefined && (await isCaptured(tx, schema, table))) {
        await adopt(tx, index);
        news.push(`${schema}.${index.type} came back: it is brought up to date`);
      } else {
        if (await purgeRows(tx, index)) return { more: true, news };
        await purgeIndex(tx, index);
        removed.push(index);
        news.push(`schema ${schema} is gone or another: index ${index.type} is removed`);
      }
    }
    return { more: await purgeStrays(tx, schema), news };
  });
  // Their tables are gone, their functions are not.
  for (const index of removed) await dropCapture(db, index, LOCK_TIMEOUT_MS);
  return settled;
}

/** True when a table bears a trigger whose function is ours. */
async function isCaptured(tx: Tx, schema: string, table: string): Promise<boolean> {
  const { rows } = await tx.query<{ captured: boolean }>(
    `select exists (
       select from pg_trigger g
         join pg_class c on c.oid = g.tgrelid
         join pg_namespace n on n.oid = c.relnamespace
         join pg_proc p on p.oid = g.tgfoid
         join pg_class ours on ours.relnamespace = p.pronamespace
                           and ours.oid = 'holdfast.index_marks'::regclass
        where n.nspname = $1 and c.relname = $2 and not g.tgisinternal) as captured`,
    [schema, table],
  );
  return rows[0]!.captured;
}

async function adopt(tx: Tx, index: SearchIndex): Promise<void> {
  await tx.query(
    `update holdfast.search_indexes
        set schema_oid = (select oid from pg_namespace where nspname = schema_name) where id = $1`,
    [index.id],
  );
  await markWholeType(tx, index.schema, index.type);
}

/** True when there may be more. */
async function purgeRows(tx: Tx, index: SearchIndex): Promise<boolean> {
  const { rowCount } = await tx.query(
    `delete from holdfast.index_rows where ctid = any (array(
       select ctid from holdfast.index_rows where index_id = $1 limit ${PURGED_AT_ONCE}))`,
    [index.id],
  );
  return rowCount === PURGED_AT_ONCE;
}

async function purgeIndex(tx: Tx, index: SearchIndex): Promise<void> {
  await tx.query(
    "delete from holdfast.quarantine where queue = $1 and scope = $2 and starts_with(key, $3)",
    [INDEX_QUEUE, index.schema, heldKeyPrefix(index.type)],
  );
  await tx.query("delete from holdfast.search_indexes where id = $1", [index.id]);
}

// Marks of types that have no index any more, or of a schema that is not there. True: there are more.
async function purgeStrays(tx: Tx, schema: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    `delete from holdfast.index_marks where ctid = any (array(
       select m.ctid from holdfast.index_marks m
        where m.schema_name = $1 and m.lane = any ($2::smallint[])
          and not exists (select from holdfast.search_indexes i
                           where i.schema_name = m.schema_name and i.type = m.type)
        limit ${PURGED_AT_ONCE}))`,
    [schema, ALL_LANES],
  );
  return rowCount === PURGED_AT_ONCE;
}
