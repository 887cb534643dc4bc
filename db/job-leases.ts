import type { ExtendAnswer, ReleaseAnswer } from "../contracts/job.ts";
import { isOpen } from "./items.ts";
import { readHandle } from "./job-handles.ts";
import { closeSettledBatches, wakeSettledJobs } from "./job-settled.ts";
import { JOB_STAGE, LEASES_STAGE } from "./job-stages.ts";
import { tryShareOperations } from "./locks.ts";
import type { Db, Queryable, Tx } from "./pool.ts";

/** Leases after their claim: extended and released by their holders, expired by upkeep. */

// Leases by handle: the batches they are of, while they still are.
const ASKED = `asked as (
    select * from unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::bytea[])
             with ordinality as a(operation_id, generation, batch, lease, handle, place)
  ), known as (
    select a.place, a.operation_id, a.generation, a.batch, a.lease, op.tenant,
           op.state = 'running' and op.generation = a.generation as alive,
           op.cancel_requested_at is not null as cancelled,
           j.lease_seconds, j.heartbeat_seconds
      from asked a
      join holdfast.job_leases l
        on l.operation_id = a.operation_id and l.generation = a.generation and l.batch = a.batch
       and l.lease = a.lease and l.handle = a.handle
      join holdfast.operations op on op.id = a.operation_id
      join holdfast.jobs j on j.operation_id = a.operation_id
  ), held as (
    select k.* from known k
      join holdfast.job_batches b
        on b.operation_id = k.operation_id and b.generation = k.generation and b.no = k.batch
     where b.state = 'leased' and b.lease = k.lease
     order by b.operation_id, b.generation, b.no
       for no key update of b
  )`;

function askedValues(handles: readonly string[], key: string): unknown[] {
  const read = handles.map((handle) => readHandle(handle, key));
  return [
    read.map((ref) => ref?.operationId ?? null),
    read.map((ref) => ref?.generation ?? null),
    read.map((ref) => ref?.batch ?? null),
    read.map((ref) => ref?.lease ?? null),
    read.map((ref) => ref?.digest ?? null),
  ];
}

/**
 * Signs of life: each lease that is still held lasts at least its whole time from now, and is lost when
 * the next sign is missing. Answers in the order of the handles. Never ends a lease earlier than said
 * before, but for the sign that is now expected.
 */
export async function extendLeases(
  db: Queryable,
  handles: readonly string[],
  key: string,
): Promise<ExtendAnswer[]> {
  const { rows } = await db.query<{
    extended: boolean;
    cancelled: boolean;
    leased_until: Date | null;
  }>(
    `with ${ASKED}, extended as (
       update holdfast.job_batches b
          set leased_until = greatest(b.leased_until,
                clock_timestamp() + h.lease_seconds * interval '1 second'),
              beat_until = greatest(b.beat_until,
                clock_timestamp() + h.heartbeat_seconds * interval '1 second')
         from held h
        where b.operation_id = h.operation_id and b.generation = h.generation and b.no = h.batch
          and b.state = 'leased' and b.lease = h.lease
       returning h.place, b.leased_until
     )
     select e.place is not null as extended, coalesce(k.cancelled or not k.alive, false) as cancelled,
            e.leased_until
       from asked a
       left join known k on k.place = a.place
       left join extended e on e.place = a.place
      order by a.place`,
    askedValues(handles, key),
  );
  return rows.map((row, index) => ({
    handle: handles[index]!,
    status: row.extended ? "extended" : "ended",
    cancelled: row.cancelled,
    leasedUntil: row.leased_until?.toISOString() ?? null,
  }));
}

/**
 * Gives batches back: what is open of them may be claimed at once, and it has cost no delivery. In the
 * order of the handles.
 */
export async function releaseLeases(
  db: Queryable,
  handles: readonly string[],
  key: string,
): Promise<ReleaseAnswer[]> {
  const { rows } = await db.query<{ released: boolean }>(
    `with ${ASKED}, released as (
       update holdfast.job_batches b
          set state = case when h.alive then 'ready' else 'done' end,
              delivery = b.delivery - 1, holder = null, leased_until = null, beat_until = null,
              ready_at = clock_timestamp()
         from held h
        where b.operation_id = h.operation_id and b.generation = h.generation and b.no = h.batch
          and b.state = 'leased' and b.lease = h.lease
       returning h.place, h.operation_id
     ), counted as (
       insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n)
       select operation_id, 'release/' || gen_random_uuid(), '${LEASES_STAGE}', 'releases',
              count(*)::int
         from released group by operation_id
     )
     select r.place is not null as released
       from asked a left join released r on r.place = a.place
      order by a.place`,
    askedValues(handles, key),
  );
  return rows.map((row, index) => ({
    handle: handles[index]!,
    status: row.released ? "released" : "ended",
  }));
}

/** SQL: when a leased batch `b` is over, by the end of its lease or a sign of life that is missing. */
const END = (b: string) => `least(${b}.leased_until, ${b}.beat_until)`;

export interface Expired {
  operation_id: string;
  generation: number;
  batch: number;
  /**
   * `ready`: to be claimed again. `split`: its open items are, each as a batch of its own. `done`:
   * nothing of it was open, or all of it is lost.
   */
  state: "ready" | "split" | "done";
  lost: number;
  /** Items that have a batch of their own from now on. */
  items: number[];
  holder: string;
}

/**
 * Leases that are over, at most `limit`: what is open of their batches is handed out again, item by item
 * when it is for the last time, so that one item that kills its worker takes no other with it; or it is
 * lost, when it was handed out as often as it may be. A result that lands meanwhile wins, whichever
 * commits first; `closeExpired` comes after the commit. Three statements, however many leases. Jobs that
 * somebody is ending are passed over and added to `ending`, and those in it are not asked.
 */
export async function expireLeases(
  tx: Tx,
  limit = 500,
  ending = new Set<string>(),
): Promise<Expired[]> {
  const { rows: over } = await tx.query<{ operation_id: string; generation: number; no: number }>(
    `select b.operation_id, b.generation, b.no from holdfast.job_batches b
      where b.state = 'leased' and ${END("b")} <= statement_timestamp()
        and b.operation_id <> all($2)
      order by ${END("b")} limit $1`,
    [limit, [...ending]],
  );
  if (over.length === 0) return [];
  const jobs = [...new Set(over.map((batch) => batch.operation_id))];
  const shared = await tryShareOperations(tx, jobs);
  for (const job of jobs) if (!shared.has(job)) ending.add(job);
  const due = over.filter((batch) => shared.has(batch.operation_id));
  if (due.length === 0) return [];
  const { rows } = await tx.query<Expired>(
    `with due as (
       select b.operation_id, b.generation, b.no, b.place, b.first_item, b.last_item, b.delivery,
              b.holder, op.state = 'running' and op.generation = b.generation as alive,
              b.delivery >= j.deliveries as spent, b.delivery = j.deliveries - 1 as last_is_next
         from unnest($1::uuid[], $2::int[], $3::int[]) as d(operation_id, generation, no)
         join holdfast.job_batches b
           on b.operation_id = d.operation_id and b.generation = d.generation and b.no = d.no
         join holdfast.operations op on op.id = d.operation_id
         join holdfast.jobs j on j.operation_id = d.operation_id
        where b.state = 'leased' and ${END("b")} <= clock_timestamp()
          for update of b skip locked
     ), open as (
       select d.operation_id, d.generation, d.no as batch, d.delivery, d.holder, i.no
         from due d
         join holdfast.items i
           on i.operation_id = d.operation_id and i.no between d.first_item and d.last_item
        where d.alive and ${isOpen("i", "d.generation", "d.operation_id")}
     ), counts as (
       select operation_id, generation, batch, count(*) as n, array_agg(no order by no) as items
         from open group by 1, 2, 3
     ), decided as (
       select d.*, coalesce(c.items, '{}') as items,
              case when c.n is null or d.spent then 'done'
                   when d.last_is_next and c.n > 1 then 'split'
                   else 'ready' end as becomes
         from due d
         left join counts c on c.operation_id = d.operation_id and c.generation = d.generation
                           and c.batch = d.no
     ), lost as (
       insert into holdfast.outcomes
         (operation_id, item_no, generation, outcome, reason, attempt, settled_by)
       select o.operation_id, o.no, o.generation, 'lost',
              format('lost: handed out %s times, last to %s, and never answered', o.delivery,
                     o.holder),
              o.delivery, 'upkeep'
         from open o join due d using (operation_id, generation)
        where d.no = o.batch and d.spent
        order by o.operation_id, o.no
       on conflict do nothing
       returning operation_id, generation, item_no
     ), alone as (
       insert into holdfast.job_batches
         (operation_id, generation, no, place, first_item, last_item, delivery)
       select d.operation_id, d.generation, -i.no, d.place, i.no, i.no, d.delivery
         from decided d cross join lateral unnest(d.items) as i(no)
        where d.becomes = 'split'
        order by 1, 2, 3
       on conflict (operation_id, generation, no) do update
          set state = 'ready', delivery = excluded.delivery, ready_at = clock_timestamp()
        where job_batches.state = 'done'
     ), moved as (
       update holdfast.job_batches b
          set state = case when d.becomes = 'ready' then 'ready' else 'done' end,
              holder = null, leased_until = null, beat_until = null, ready_at = clock_timestamp()
         from decided d
        where b.operation_id = d.operation_id and b.generation = d.generation and b.no = d.no
       returning b.operation_id, b.generation, b.no as batch, d.becomes as state, d.holder,
                 case when d.becomes = 'split' then d.items else '{}' end as items,
                 (select count(*)::int from lost l
                   where l.operation_id = d.operation_id and l.generation = d.generation
                     and l.item_no between d.first_item and d.last_item) as lost
     ), counted as (
       insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n, place)
       select c.operation_id, 'expire/' || $4::text, c.stage, c.outcome, c.n, c.place
         from (select operation_id, '${LEASES_STAGE}' as stage, 'expiries' as outcome,
                      count(*)::int as n, 0 as place
                 from moved group by operation_id
                union all
               select operation_id, '${JOB_STAGE}', 'lost', count(*)::int, 1
                 from lost group by operation_id) as c
     )
     select * from moved order by operation_id, batch`,
    [
      due.map((batch) => batch.operation_id),
      due.map((batch) => batch.generation),
      due.map((batch) => batch.no),
      crypto.randomUUID(),
    ],
  );
  return rows;
}

/**
 * Batches of one item whose result landed while they were made are done, and jobs of which nothing is
 * open are woken. After the commit of `expireLeases`; may be repeated.
 */
export async function closeExpired(db: Queryable, expired: readonly Expired[]): Promise<void> {
  const made = new Map<string, { operation_id: string; generation: number; alone: number[] }>();
  for (const { operation_id, generation, items } of expired) {
    const key = `${operation_id}/${generation}`;
    const { alone } = made.get(key) ?? { alone: [] };
    made.set(key, { operation_id, generation, alone: [...alone, ...items.map((item) => -item)] });
  }
  for (const { operation_id, generation, alone } of made.values()) {
    if (alone.length > 0) await closeSettledBatches(db, operation_id, generation, alone);
  }
  for (const id of new Set(expired.map(({ operation_id }) => operation_id))) {
    await wakeSettledJobs(db, id);
  }
}

/**
 * Whether any lease is over: one look at the first entry of an index, asked far more often than one is.
 * The time of the statement can be looked for in it; the clock's, which may change meanwhile, cannot.
 */
export async function hasDueLeases(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ due: boolean }>(
    `select exists (select from holdfast.job_batches b
              where b.state = 'leased' and ${END("b")} <= statement_timestamp()) as due`,
  );
  return rows[0]!.due;
}

const EXPIRED_AT_ONCE = 500;

/**
 * The duty of upkeep: ends every lease that is over, then wakes jobs that nobody woke. Several may do it
 * at once. Answers how many leases ended and how many items are lost.
 */
export async function expireDueLeases(db: Db): Promise<{ expired: number; lost: number }> {
  const done = { expired: 0, lost: 0 };
  const ending = new Set<string>();
  while (await hasDueLeases(db)) {
    const passedOver = ending.size;
    const expired = await db.transaction((tx) => expireLeases(tx, EXPIRED_AT_ONCE, ending));
    await closeExpired(db, expired);
    done.expired += expired.length;
    done.lost += expired.reduce((sum, { lost }) => sum + lost, 0);
    // Those that are over and locked are in somebody else's hands.
    if (expired.length === 0 && ending.size === passedOver) break;
  }
  await wakeSettledJobs(db);
  return done;
}
