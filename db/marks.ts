import type { Queryable, Tx } from "./pool.ts";

/** Marks say "this object is dirty" and nothing more. Append-only; a drain deletes what it handled. */

/** Due now. The one predicate for relay, claim and doctor. */
export const isDue = (row: string) => `${row}.due_at <= clock_timestamp()`;

export async function addMarks(
  tx: Tx,
  queue: string,
  scope: string,
  keys: readonly string[],
): Promise<void> {
  if (keys.length === 0) return;
  await tx.query(
    "insert into holdfast.marks (queue, scope, key) select $1, $2, unnest($3::text[])",
    [queue, scope, keys],
  );
}

/** The scope to serve next: round-robin, the first after the one served last. */
export async function nextScope(
  db: Queryable,
  queue: string,
  servedLast: string,
): Promise<string | undefined> {
  const { rows } = await db.query<{ scope: string }>(
    `(select scope from holdfast.marks m
       where queue = $1 and scope > $2 and ${isDue("m")} order by scope limit 1)
     union all
     (select scope from holdfast.marks m
       where queue = $1 and ${isDue("m")} order by scope limit 1)
     limit 1`,
    [queue, servedLast],
  );
  return rows[0]?.scope;
}

/** The oldest due marks of one scope. */
export async function dueMarks(
  db: Queryable,
  queue: string,
  scope: string,
  limit: number,
): Promise<{ seq: string; key: string }[]> {
  const { rows } = await db.query<{ seq: string; key: string }>(
    `select seq, key from holdfast.marks m
      where queue = $1 and scope = $2 and ${isDue("m")}
      order by seq limit $3`,
    [queue, scope, limit],
  );
  return rows;
}

export async function deleteMarks(tx: Tx, seqs: readonly string[]): Promise<void> {
  await tx.query("delete from holdfast.marks where seq = any($1)", [seqs]);
}

/** Marks that become due later, after a fault, so that others go first. */
export async function addMarksLater(
  tx: Tx,
  queue: string,
  scope: string,
  keys: readonly string[],
  dueAt: Date,
): Promise<void> {
  await tx.query(
    `insert into holdfast.marks (queue, scope, key, due_at)
     select $1, $2, unnest($3::text[]), $4`,
    [queue, scope, keys, dueAt],
  );
}

/** How deep each queue is, and how old its oldest due mark. */
export async function markDepths(
  db: Queryable,
): Promise<{ queue: string; depth: number; oldest: Date | null }[]> {
  const { rows } = await db.query<{ queue: string; depth: number; oldest: Date | null }>(
    `select queue, count(*)::int as depth, min(due_at) filter (where ${isDue("m")}) as oldest
       from holdfast.marks m group by queue order by queue`,
  );
  return rows;
}

/** When the next mark of a queue becomes due, past or future. */
export async function nextMarkDue(db: Queryable, queue: string): Promise<Date | null> {
  const { rows } = await db.query<{ next: Date | null }>(
    "select min(due_at) as next from holdfast.marks where queue = $1",
    [queue],
  );
  return rows[0]!.next;
}
