import pg from "pg";
import { Conflict, InvalidInput } from "../contracts/errors.ts";
import type { SearchType } from "../contracts/search.ts";
import { captureDigest, definitionDigest, type SearchRegistry } from "../domain/search.ts";
import { indexSql, trySource } from "./index-apply.ts";
import { isUnreadable, settleSchema } from "./index-drift.ts";
import { markWholeType } from "./index-marks.ts";
import type { Source } from "./index-source.ts";
import { ownCapture } from "./locks.ts";
import type { Db, Queryable, Tx } from "./pool.ts";
import { readCaptured, type Captured } from "./search-capture-catalog.ts";
import {
  CAPTURE_PATH,
  differenceOf,
  isEmpty,
  readStanding,
  relationSql,
  wantedCapture,
  type Difference,
  type WantedTrigger,
} from "./search-capture-standing.ts";
import {
  changingTable,
  dropCapture,
  dropFunctions,
  LOCK_TIMEOUT_MS,
} from "./search-capture-drop.ts";
import { findIndex, type SearchIndex } from "./search-indexes.ts";
import { isVisible, readShown } from "./search-live.ts";

/**
 * Puts capture of a type on its tables. Each table is changed in a transaction of its own that waits
 * for its lock a short while, for writers wait behind it. Triggers that stand are left alone: a changed
 * function takes their place without a lock.
 */

export type CaptureOutcome = "installed" | "unchanged" | "updated";

export interface InstallOptions {
  registry: SearchRegistry;
  /** How long a table's lock is waited for. */
  lockTimeoutMs?: number;
  /** Part of the last transaction, when anything changed. */
  record?: (tx: Tx, outcome: CaptureOutcome) => Promise<void>;
}

/**
 * Makes capture what the declaration says; safe to repeat and to race. When it fails, an index that is
 * new leaves nothing behind, and one that stood goes on as well as before.
 * @throws NotFound, InvalidInput, RefusedByPolicy for what cannot be installed; Conflict naming who
 *   holds a table
 */
export async function installCapture(
  db: Db,
  schema: string,
  type: SearchType,
  options: InstallOptions,
): Promise<CaptureOutcome> {
  const { registry, lockTimeoutMs = LOCK_TIMEOUT_MS } = options;
  const captured = await readCaptured(db, schema, type);
  await assertRuns(db, captured.source, registry.settings.language);
  const known = await ofThisSchema(db, captured, registry, lockTimeoutMs);
  if (known && (await isComplete(db, known, captured))) return "unchanged";

  const { index, difference } = await begin(db, captured, registry.settings.language);
  const isNew = index.capture.length === 0;
  const outcome = isNew ? "installed" : "updated";
  try {
    await putTriggers(db, captured, difference, lockTimeoutMs);
    await end(db, index, captured, difference, async (tx) => options.record?.(tx, outcome));
  } catch (error) {
    if (isNew) await takeBack(db, index, lockTimeoutMs);
    throw error;
  }
  return outcome;
}

/** Every SQL of the declaration, asked for nothing. */
async function assertRuns(db: Db, source: Source, language: string): Promise<void> {
  try {
    await trySource(db, { source, sql: indexSql(source, language) });
    await readShown(db, source, []);
    const visible = isVisible([{ id: 0, generation: 0, source }], "'{}'::jsonb");
    await db.query(`select ${visible} from holdfast.index_rows b limit 0`);
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    const message = `its SQL cannot be run in schema ${source.schema}: ${(error as Error).message}`;
    throw new InvalidInput([{ path: `type ${source.type.name}`, message }]);
  }
}

/** The index as it stands. One of another schema of that name is settled first. */
async function ofThisSchema(
  db: Db,
  { source: { schema, schemaOid, type } }: Captured,
  registry: SearchRegistry,
  lockTimeoutMs: number,
): Promise<SearchIndex | undefined> {
  const known = await findIndex(db, schema, type.name);
  if (!known || known.schemaOid === schemaOid) return known;
  while ((await settleSchema(db, registry, schema)).more);
  const settled = await findIndex(db, schema, type.name);
  if (settled?.id !== known.id) await dropCapture(db, known, lockTimeoutMs);
  return settled;
}

async function isComplete(db: Db, index: SearchIndex, captured: Captured): Promise<boolean> {
  const { source } = captured;
  return (
    index.schemaOid === source.schemaOid &&
    index.capture.equals(captureDigest(source.type)) &&
    isEmpty(await differenceBetween(db, db, index, captured))
  );
}

async function differenceBetween(
  db: Db,
  on: Queryable,
  index: SearchIndex,
  captured: Captured,
): Promise<Difference> {
  return differenceOf(wantedCapture(db, index.id, captured), await readStanding(on, index.id));
}

// Functions come first: they say nothing until a trigger calls them, and need no lock on a table.
async function begin(
  db: Db,
  captured: Captured,
  language: string,
): Promise<{ index: SearchIndex; difference: Difference }> {
  const { schema, schemaOid, type } = captured.source;
  return db.transaction(async (tx) => {
    await ownCapture(tx, schema, type.name);
    // Capture is empty until every trigger stands.
    await tx.query(
      `insert into holdfast.search_indexes (schema_name, schema_oid, type, definition, capture)
       values ($1, $2, $3, $4, '') on conflict (schema_name, type) do nothing`,
      [schema, schemaOid, type.name, definitionDigest(type, language)],
    );
    const index = (await findIndex(tx, schema, type.name))!;
    const difference = await differenceBetween(db, tx, index, captured);
    for (const { name, body } of difference.functions) {
      await tx.query(functionSql(name, body));
      await tx.query(`revoke all on function holdfast.${name}() from public`);
    }
    return { index, difference };
  });
}

function functionSql(name: string, body: string): string {
  return `create or replace function holdfast.${name}() returns trigger
    language plpgsql security definer set search_path = ${CAPTURE_PATH} as ${pg.escapeLiteral(body)}`;
}

async function putTriggers(
  db: Db,
  { source: { schema, type } }: Captured,
  { triggers, surplusTriggers }: Difference,
  lockTimeoutMs: number,
): Promise<void> {
  const relations = new Map(
    [...triggers, ...surplusTriggers].map(({ relation }) => [relation.oid, relation]),
  );
  for (const relation of relations.values()) {
    const isOn = (trigger: { relation: { oid: number } }) => trigger.relation.oid === relation.oid;
    await changingTable(db, relation, lockTimeoutMs, async (tx, locked) => {
      await ownCapture(tx, schema, type.name);
      await locked();
      for (const trigger of triggers.filter(isOn)) await tx.query(triggerSql(trigger));
      for (const { name } of surplusTriggers.filter(isOn)) {
        await tx.query(
          `drop trigger if exists ${pg.escapeIdentifier(name)} on ${relationSql(relation)}`,
        );
      }
    });
  }
}

const TRANSITIONS = {
  insert: "referencing new table as holdfast_new",
  update: "referencing old table as holdfast_old new table as holdfast_new",
  delete: "referencing old table as holdfast_old",
  truncate: "",
} as const;

function triggerSql({ name, event, relation, function: of, argument }: WantedTrigger): string {
  const given = argument === undefined ? "" : pg.escapeLiteral(argument);
  return `create or replace trigger ${pg.escapeIdentifier(name)} after ${event} on ${relationSql(relation)}
    ${TRANSITIONS[event]} for each statement execute function holdfast.${of}(${given})`;
}

/** What was written while triggers were missing or watched something else, nobody marked. */
async function end(
  db: Db,
  index: SearchIndex,
  { source: { schema, type } }: Captured,
  { triggers, surplusFunctions }: Difference,
  record: (tx: Tx) => Promise<void>,
): Promise<void> {
  const digest = captureDigest(type);
  const isNew = index.capture.length === 0;
  await db.transaction(async (tx) => {
    await ownCapture(tx, schema, type.name);
    await dropFunctions(tx, surplusFunctions);
    const { rowCount } = await tx.query(
      "update holdfast.search_indexes set capture = $2 where id = $1",
      [index.id, digest],
    );
    if (rowCount === 0) {
      throw new Conflict("uninstalled", `${type.name} in ${schema} was uninstalled meanwhile`);
    }
    if (!isNew && (triggers.length > 0 || !index.capture.equals(digest))) {
      await markWholeType(tx, schema, type.name);
    }
    await record(tx);
  });
}

async function takeBack(db: Db, index: SearchIndex, lockTimeoutMs: number): Promise<void> {
  try {
    await dropCapture(db, index, lockTimeoutMs);
    await db.transaction(async (tx) => {
      await ownCapture(tx, index.schema, index.type);
      await tx.query("delete from holdfast.search_indexes where id = $1 and capture = ''", [
        index.id,
      ]);
    });
  } catch {
    // The failure that led here is what is told. Triggers that stay only mark; a later install or
    // uninstall finds them.
  }
}

const TRIGRAMS_MS = 600_000;

/** Indexes values by their trigrams, where the extension is and that was not done. */
export async function makeTrigrams(db: Db): Promise<boolean> {
  return db.transaction(
    async (tx) => {
      const { rows } = await tx.query<{ made: boolean }>(
        "select holdfast.index_trigrams() as made",
      );
      return rows[0]!.made;
    },
    { statementTimeoutMs: TRIGRAMS_MS },
  );
}
