import { finishOperation } from "./finish.ts";
import { ownBank, ownOperation, shareKnowledge } from "./locks.ts";
import { CONSOLIDATE } from "./observations.ts";
import type { Db, Queryable, Tx } from "./pool.ts";
import {
  DOCUMENT_KEY,
  eraseDeadKeys,
  eraseFromIndex,
  FACT_KEY,
  ownOwnIndex,
} from "./search-erase.ts";

/**
 * Erasing a bank. Marking it is the promise: from then on nothing can be written to it, and its name
 * is free. What it held goes afterwards, in statements of bounded size, by whoever asked and then by
 * upkeep; every step finds out for itself what is left, so that a crash costs nothing.
 */

export interface ErasedBank {
  id: string;
  tenant: string;
  name: string;
}

/** Rows of one statement. */
const ROWS = 5_000;
/** A sweep that has not ended after this is taken up again. */
const LEASE = "interval '1 minute'";
/** A swept bank is looked at again this often, for a day, and then forgotten. */
const AGAIN = "interval '1 hour'";
const LATE = "interval '1 day'";

/** Marks a live bank. Waits for commits of work in flight, and fences those to come. */
export async function markBankErased(tx: Tx, bankId: string): Promise<boolean> {
  await ownBank(tx, bankId);
  const { rowCount } = await tx.query(
    `update holdfast.banks
        set erased_at = clock_timestamp(), sweep_due_at = clock_timestamp() + ${LEASE}
      where id = $1 and erased_at is null`,
    [bankId],
  );
  return rowCount === 1;
}

/** Goes on with erased banks that are due, `limit` of them, for about `budgetMs`. */
export async function sweepErasedBanks(db: Db, limit = 10, budgetMs = 20_000): Promise<number> {
  const until = Date.now() + budgetMs;
  const { rows: banks } = await db.query<ErasedBank>(
    `update holdfast.banks b set sweep_due_at = clock_timestamp() + ${LEASE}
       from (select id from holdfast.banks
              where erased_at is not null and sweep_due_at <= clock_timestamp()
              order by sweep_due_at limit $1 for update skip locked) due
      where b.id = due.id
     returning b.id, b.tenant, b.name`,
    [limit],
  );
  let swept = 0;
  for (const bank of banks) if (await sweepBank(db, bank, until)) swept++;
  return swept;
}

/** Removes what an erased bank held. False: time was up before it was all gone. */
export async function sweepBank(db: Db, bank: ErasedBank, until: number): Promise<boolean> {
  for (const step of STEPS) {
    while ((await step(db, bank)) > 0) if (Date.now() > until) return false;
  }
  await markSwept(db, bank.id);
  await forgetBank(db, bank.id);
  return true;
}

/** Ends operations of an erased bank that are open, each in a transaction. Answers how many. */
export async function endOperationsOf(db: Db, bank: ErasedBank): Promise<number> {
  const { rows } = await db.query<{ id: string; generation: number }>(
    `select id, generation from holdfast.operations
      where ${OF_BANK} and state in ('accepted', 'running')`,
    [bank.tenant, bank.name, bank.id],
  );
  for (const { id, generation } of rows) {
    const ending = { outcome: "cancelled", reason: "bank erased", by: "erase" } as const;
    await db.transaction((tx) => finishOperation(tx, { id, generation, ...ending }));
  }
  return rows.length;
}

// The scope is the bank's name, and another bank may have it by now.
const OF_BANK = "tenant = $1 and scope = $2 and kind = 'retain' and input ->> 'bankId' = $3";

/**
 * In this order: operations first, so that nothing starts again; then facts, then the observations
 * that could be written of them.
 */
const STEPS: readonly ((db: Db, bank: ErasedBank) => Promise<number>)[] = [
  endOperationsOf,
  deleteSomeOperations,
  (db, { id }) => withoutConsolidation(db, id, (tx) => deleteSome(tx, "fact_entities", id)),
  (db, { id }) => withoutConsolidation(db, id, (tx) => deleteSomeIndexed(tx, "fact", id)),
  (db, { id }) => deleteSomeParts(db, "document_parts", "seq", id),
  (db, { id }) => deleteSomeParts(db, "staged_parts", "part_seq", id),
  (db, { id }) => db.transaction((tx) => deleteSomeIndexed(tx, "document", id)),
  (db) => db.transaction((tx) => eraseDeadKeys(tx, "fact")),
  (db) => db.transaction((tx) => eraseDeadKeys(tx, "document")),
  (db, { id }) => deleteSome(db, "observations", id),
  (db, { id }) => deleteQueued(db, "marks", id),
  (db, { id }) => deleteQueued(db, "quarantine", id),
];

/** Items of one transaction, about. */
const ITEMS = 20_000;
const OPERATIONS = 50;

async function deleteSomeOperations(db: Db, bank: ErasedBank): Promise<number> {
  const { rows } = await db.query<{ id: string }>(
    `select id
       from (select id, sum(total) over (order by id) - total as before
               from (select id, total from holdfast.operations
                      where ${OF_BANK} and state in ('completed', 'failed', 'cancelled')
                      order by id limit $4) op) sized
      where before < $5
      order by id`,
    [bank.tenant, bank.name, bank.id, OPERATIONS, ITEMS],
  );
  if (rows.length === 0) return 0;
  return db.transaction(async (tx) => {
    for (const { id } of rows) await ownOperation(tx, id);
    return deleteEnded(
      tx,
      rows.map((row) => row.id),
    );
  });
}

/**
 * Deletes ended operations with everything of theirs, by id. The news of an end that is still on its
 * way is delivered, without its reason, which may quote content.
 */
async function deleteEnded(tx: Tx, ids: readonly string[]): Promise<number> {
  const { rows: ended } = await tx.query<{ id: string }>(
    `select id from holdfast.operations
      where id = any($1) and state in ('completed', 'failed', 'cancelled') for update`,
    [ids],
  );
  const { rows } = await tx.query<{ n: number }>(
    `with payloads as (delete from holdfast.payloads where operation_id = any($1)),
          outcomes as (delete from holdfast.outcomes where operation_id = any($1)),
          items as (delete from holdfast.items where operation_id = any($1)),
          batches as (delete from holdfast.sub_batches where operation_id = any($1)),
          deltas as (delete from holdfast.progress_deltas where operation_id = any($1)),
          progress as (delete from holdfast.progress where operation_id = any($1)),
          tries as (delete from holdfast.attempts where operation_id = any($1)),
          flights as (delete from holdfast.flights where operation_id = any($1)),
          logs as (delete from holdfast.logs where operation_id = any($1)),
          findings as (delete from holdfast.findings where subject = any($2)),
          told as (
            delete from holdfast.events e
             where e.operation_id = any($1) and not ${IS_ON_ITS_WAY}),
          untold as (
            update holdfast.events e set body = e.body || '{"reason": "bank erased"}'
             where e.operation_id = any($1) and ${IS_ON_ITS_WAY}),
          operations as (delete from holdfast.operations where id = any($1) returning id)
     select count(*)::int as n from operations`,
    [ended.map((row) => row.id), ended.map((row) => row.id)],
  );
  return rows[0]!.n;
}

const IS_ON_ITS_WAY = `exists (
  select from holdfast.deliveries d where d.event_id = e.id and d.state = 'pending')`;

// Consolidation writes of facts that stand; it must not stand between a fact and its removal.
function withoutConsolidation<T>(db: Db, bankId: string, work: (tx: Tx) => Promise<T>): Promise<T> {
  return db.transaction(async (tx) => {
    await shareKnowledge(tx, bankId);
    return work(tx);
  });
}

async function deleteSome(
  db: Queryable,
  table: "fact_entities" | "observations",
  bankId: string,
): Promise<number> {
  const { rowCount } = await db.query(
    `delete from holdfast.${table} where ctid = any(array(
       select ctid from holdfast.${table} where bank_id = $1 limit $2))`,
    [bankId, ROWS],
  );
  return rowCount ?? 0;
}

/** With what the index has of them. */
async function deleteSomeIndexed(
  tx: Tx,
  type: "fact" | "document",
  bankId: string,
): Promise<number> {
  const [table, key] = type === "fact" ? ["facts", FACT_KEY] : ["documents", DOCUMENT_KEY];
  await ownOwnIndex(tx);
  const { rows } = await tx.query<{ key: string }>(
    `delete from holdfast.${table} where ctid = any(array(
       select ctid from holdfast.${table} where bank_id = $1 limit $2))
     returning ${key} as key`,
    [bankId, ROWS],
  );
  await eraseFromIndex(tx, { type, keys: rows.map((row) => row.key) });
  return rows.length;
}

/** Chunks of some parts while there are any, then those parts. */
async function deleteSomeParts(
  db: Queryable,
  table: "document_parts" | "staged_parts",
  seq: "seq" | "part_seq",
  bankId: string,
): Promise<number> {
  const some = `select ${seq} from holdfast.${table} where bank_id = $1 order by ${seq} limit 500`;
  const chunks = await db.query(
    `delete from holdfast.chunks where (part_seq, no) in (
       select part_seq, no from holdfast.chunks where part_seq in (${some}) limit $2)`,
    [bankId, ROWS],
  );
  if (chunks.rowCount) return chunks.rowCount;
  const parts = await db.query(`delete from holdfast.${table} where ${seq} in (${some})`, [bankId]);
  return parts.rowCount ?? 0;
}

async function deleteQueued(
  db: Queryable,
  table: "marks" | "quarantine",
  bankId: string,
): Promise<number> {
  const { rowCount } = await db.query(
    `delete from holdfast.${table} where ctid = any(array(
       select ctid from holdfast.${table} where queue = $1 and scope = $2 limit $3))`,
    [CONSOLIDATE, bankId, ROWS],
  );
  return rowCount ?? 0;
}

async function markSwept(db: Queryable, bankId: string): Promise<void> {
  await db.query(
    `update holdfast.banks set sweep_due_at = clock_timestamp() + ${AGAIN}
      where id = $1 and erased_at is not null`,
    [bankId],
  );
}

async function forgetBank(db: Queryable, bankId: string): Promise<void> {
  await db.query(
    `delete from holdfast.banks where id = $1 and erased_at < clock_timestamp() - ${LATE}`,
    [bankId],
  );
}
