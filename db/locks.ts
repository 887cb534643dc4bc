import type { Tx } from "./pool.ts";

/**
 * Locks, in the order every transaction takes them. All are transaction-scoped, so that a crash or
 * a pooler in transaction mode releases them.
 *
 *   1. operation   shared by every commit of work, exclusive by finish, cancel and erase
 *   2. bank        shared by every commit of work, exclusive by erase
 *   3. documents   rows in order of (bank_id, document_id)
 *   4. knowledge   per bank: shared by commits that remove facts, exclusive by consolidation
 *   5. index       per (schema, lane) in order of lane: by each batch of the search drain, each page
 *                  and the swap of a reindex; live rows are read after it
 *   6. a pull worker's own claim, then turns of jobs and batches, which claims pass over when locked;
 *      outcomes in order of items
 *   7. inbox       per (tenant, branch) in order of branch: by whoever takes entities in, so that the
 *                  order of acceptance is the order of commits
 *   8. inventory   per (tenant, branch): by whoever plans or applies; then entities in order of id
 *                  (removals last, passing over those that a snapshot has undone, for it undoes them as
 *                  it reads on); then members of scopes, a removal before the members it was made of
 *   9. target      per target: by whoever claims entities for it, before rows of entities
 *  10. everything else is insert-only, or one row by its key
 *
 * Capture of a type is put on and taken off under a lock of its own, then the one table it changes.
 */

// The first half of a two-part advisory key: which family of locks it is.
// 4201 is taken by `holdfast.begin_job_post`, too.
const OPERATION = 4201;
const BANK = 4202;
const KNOWLEDGE = 4203;
const DUTY = 4204;
const INDEX = 4205;
const CAPTURE = 4206;
const INBOX = 4208;
const INVENTORY = 4209;
const TARGET = 4210;
// 4207: claims of one pull worker, in `holdfast.claim_job_batches`.

/** Held by each commit of work; many at once. Finish and cancel wait for them, then close. */
export async function shareOperation(tx: Tx, operationId: string): Promise<void> {
  await tx.query("select pg_advisory_xact_lock_shared($1, hashtext($2))", [OPERATION, operationId]);
}

/** The same of several, without a wait. Answers those that it has; somebody is ending the others. */
export async function tryShareOperations(
  tx: Tx,
  operationIds: readonly string[],
): Promise<Set<string>> {
  const { rows } = await tx.query<{ id: string }>(
    `select id from unnest($2::text[]) as id
      where pg_try_advisory_xact_lock_shared($1, hashtext(id))`,
    [OPERATION, operationIds],
  );
  return new Set(rows.map(({ id }) => id));
}

/** Held while an operation is closed, paused or erased: no commit of work is in flight. */
export async function ownOperation(tx: Tx, operationId: string): Promise<void> {
  await tx.query("select pg_advisory_xact_lock($1, hashtext($2))", [OPERATION, operationId]);
}

/** Held by each commit of work in a bank; many at once. Erase waits for them. */
export async function shareBank(tx: Tx, bankId: string): Promise<void> {
  await tx.query("select pg_advisory_xact_lock_shared($1, hashtext($2))", [BANK, bankId]);
}

/** Held while a bank is marked as erased: no commit of work in it is in flight. */
export async function ownBank(tx: Tx, bankId: string): Promise<void> {
  await tx.query("select pg_advisory_xact_lock($1, hashtext($2))", [BANK, bankId]);
}

/** Held by commits that add or remove facts of a bank; many at once. */
export async function shareKnowledge(tx: Tx, bankId: string): Promise<void> {
  await tx.query("select pg_advisory_xact_lock_shared($1, hashtext($2))", [KNOWLEDGE, bankId]);
}

/** Held while observations of a bank are written: the facts they stand on stay. */
export async function ownKnowledge(tx: Tx, bankId: string): Promise<void> {
  await tx.query("select pg_advisory_xact_lock($1, hashtext($2))", [KNOWLEDGE, bankId]);
}

/** Held while index rows of objects in these lanes of a schema are written: one writer at a time. */
export async function ownIndexLanes(
  tx: Tx,
  schema: string,
  lanes: readonly number[],
): Promise<void> {
  await tx.query(
    `select pg_advisory_xact_lock($1, hashtext($2 || '/' || lane))
       from (select unnest($3::int[]) as lane order by 1) as lanes`,
    [INDEX, schema, lanes],
  );
}

/** Held while triggers of a type are put on its tables or taken off, before any table is locked. */
export async function ownCapture(tx: Tx, schema: string, type: string): Promise<void> {
  await tx.query("select pg_advisory_xact_lock($1, hashtext($2))", [CAPTURE, `${schema}/${type}`]);
}

/** Asks once; false when another process holds the duty, which then does this round. */
export async function takeDuty(tx: Tx, duty: string): Promise<boolean> {
  const { rows } = await tx.query<{ taken: boolean }>(
    "select pg_try_advisory_xact_lock($1, hashtext($2)) as taken",
    [DUTY, duty],
  );
  return rows[0]!.taken;
}

/** Held while entities are taken in: what is accepted later is committed later. null: no branch yet. */
export async function ownInboxes(
  tx: Tx,
  tenant: string,
  branches: readonly (string | null)[],
): Promise<void> {
  await tx.query(
    `select pg_advisory_xact_lock($1, hash)
       from (select distinct hashtext($2 || '/' || coalesce('=' || branch, '')) as hash
               from unnest($3::text[]) as branch order by 1) as hashes`,
    [INBOX, tenant, branches],
  );
}

/** Held by the one who plans and applies in a branch; false when somebody else does. */
export async function takeInventory(tx: Tx, tenant: string, branch: string): Promise<boolean> {
  const { rows } = await tx.query<{ taken: boolean }>(
    "select pg_try_advisory_xact_lock($1, hashtext($2)) as taken",
    [INVENTORY, `${tenant}/${branch}`],
  );
  return rows[0]!.taken;
}

/** The same with a wait: for who has a place in line, and stands behind one batch at most. */
export async function ownInventory(tx: Tx, tenant: string, branch: string): Promise<void> {
  await tx.query("select pg_advisory_xact_lock($1, hashtext($2))", [
    INVENTORY,
    `${tenant}/${branch}`,
  ]);
}

/** Held while entities of a target are claimed: no two claims look at one identity at the same time. */
export async function ownTargetClaims(tx: Tx, target: string): Promise<void> {
  await tx.query("select pg_advisory_xact_lock($1, hashtext($2))", [TARGET, target]);
}
