import { kept } from "../contracts/text.ts";
import type { Queryable, Tx } from "./pool.ts";

/** Tries that did not settle an item, and pages in flight, so that a crash is known and counted. */

export interface FailedTry {
  itemNo: number;
  error: string;
  dueAt: Date;
  /** False: a deferral, which spends no attempt. */
  spends: boolean;
}

/** Records tries that failed or were deferred; the items are due again at `dueAt`. */
export async function recordTries(
  tx: Tx,
  operation: { id: string; generation: number },
  tries: readonly FailedTry[],
): Promise<void> {
  if (tries.length === 0) return;
  await tx.query(
    `insert into holdfast.attempts (operation_id, item_no, generation, attempts, due_at, last_error)
     select $1, t.item_no, $2, t.spends::int, t.due_at, t.error
       from unnest($3::int[], $4::boolean[], $5::timestamptz[], $6::text[])
            as t(item_no, spends, due_at, error)
     on conflict (operation_id, item_no, generation) do update
        set attempts = attempts.attempts + excluded.attempts, due_at = excluded.due_at,
            last_error = excluded.last_error, updated_at = clock_timestamp()`,
    [
      operation.id,
      operation.generation,
      tries.map((one) => one.itemNo),
      tries.map((one) => one.spends),
      tries.map((one) => one.dueAt),
      tries.map((one) => kept(one.error)),
    ],
  );
}

/** Charges an item that was alone in flight when its worker died. Answers its crashes so far. */
export async function chargeCrash(
  tx: Tx,
  operation: { id: string; generation: number },
  itemNo: number,
): Promise<number> {
  const { rows } = await tx.query<{ crashes: number }>(
    `insert into holdfast.attempts (operation_id, item_no, generation, crashes, last_error)
     values ($1, $2, $3, 1, 'the worker died with this item in flight')
     on conflict (operation_id, item_no, generation) do update
        set crashes = attempts.crashes + 1, last_error = excluded.last_error,
            updated_at = clock_timestamp()
     returning crashes`,
    [operation.id, itemNo, operation.generation],
  );
  return rows[0]!.crashes;
}

export interface Flight {
  items: number[];
  /** Nothing else was in flight in the same process: a crash is this one's doing. */
  alone: boolean;
}

interface FlightKey {
  operationId: string;
  generation: number;
  rangeNo: number;
}

/** A page left in flight by an attempt that died; undefined when the last one landed. */
export async function findFlight(db: Queryable, key: FlightKey): Promise<Flight | undefined> {
  const { rows } = await db.query<Flight>(
    `select items, alone from holdfast.flights
      where operation_id = $1 and generation = $2 and range_no = $3`,
    [key.operationId, key.generation, key.rangeNo],
  );
  return rows[0];
}

/** Says which items are in flight, before anything of theirs is done. */
export async function takeOff(
  db: Queryable,
  key: FlightKey,
  flight: Flight,
  worker: string,
): Promise<void> {
  await db.query(
    `insert into holdfast.flights (operation_id, generation, range_no, items, alone, worker)
     values ($1, $2, $3, $4, $5, $6)
     on conflict (operation_id, generation, range_no) do update
        set items = excluded.items, alone = excluded.alone, worker = excluded.worker,
            started_at = clock_timestamp()`,
    [key.operationId, key.generation, key.rangeNo, flight.items, flight.alone, worker],
  );
}

/** The page ended, well or not, with its worker alive. */
export async function land(db: Queryable, key: FlightKey): Promise<void> {
  await db.query(
    "delete from holdfast.flights where operation_id = $1 and generation = $2 and range_no = $3",
    [key.operationId, key.generation, key.rangeNo],
  );
}

/** What the newest generation no longer needs. */
export async function forgetTries(tx: Tx, operationId: string): Promise<void> {
  await tx.query("delete from holdfast.flights where operation_id = $1", [operationId]);
}

/** Open items that wait for another try, and when the first of them is due, per operation. */
export async function waitingTries(
  db: Queryable,
  operationIds: readonly string[],
): Promise<Map<string, { items: number; next: Date }>> {
  const { rows } = await db.query<{ operation_id: string; items: number; next: Date }>(
    `select a.operation_id, count(*)::int as items, min(a.due_at) as next
       from holdfast.attempts a
       join holdfast.operations op on op.id = a.operation_id and op.generation = a.generation
      where a.operation_id = any($1) and op.state = 'running' and a.due_at > clock_timestamp()
        and not exists (select from holdfast.outcomes o
              where o.operation_id = a.operation_id and o.item_no = a.item_no
                and o.generation = a.generation)
      group by 1`,
    [operationIds],
  );
  return new Map(rows.map((row) => [row.operation_id, row]));
}
