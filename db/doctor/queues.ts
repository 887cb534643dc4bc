import { isBraked } from "../brakes.ts";
import { OLDEST_INDEX_MARKS } from "../index-claim.ts";
import { INDEX_QUEUE } from "../index-marks.ts";
import { isDue } from "../marks.ts";
import { INVENTORY_IS_DUE } from "../plan-due.ts";
import type { Queryable } from "../pool.ts";
import { onlineWorkers } from "../workers.ts";
import { MOST_SUBJECTS, type Check, type Found, type Limits, type RowCheck } from "./check.ts";

/** Invariants of what waits: an idle queue and a dead one look alike until one knows who is alive. */

const minutes = (since: Date) => {
  const seconds = Math.round((Date.now() - since.getTime()) / 1_000);
  return seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
};

export interface OverdueRow {
  id: string;
  kind: string;
  tenant: string;
  scope: string;
  generation: number;
  total: number;
  priority: number;
  trace: string | null;
  start_attempts: number;
  due_at: Date;
}

/** A relay asks every second; this is a relay that does not. */
const RELAY_BOUND_S = 60;
/** Starts back off to 60 s; so many of them take about two minutes. */
const MANY_STARTS = 6;

/**
 * The first waiting operation of each scope, when the relay could have started it: due, neither paused
 * nor braked, with room left for it. Either the relay has not asked for a minute, or its starts do not
 * take.
 */
async function findOverdueStarts(db: Queryable, limits: Limits): Promise<OverdueRow[]> {
  const { rows } = await db.query<OverdueRow>(
    `with running as (
       select tenant, scope, count(*) as n from holdfast.operations
        where state = 'running' group by 1, 2
     ), first as (
       select distinct on (tenant, scope) *
         from (select * from holdfast.operations op
                where op.state = 'accepted' and op.paused_at is null and not ${isBraked("op")}
                  and (op.due_at <= clock_timestamp() or op.start_attempts > 0)
                order by op.due_at limit 10000) as waiting
        order by tenant, scope, priority, id
     )
     select f.id, f.kind, f.tenant, f.scope, f.generation, f.total, f.priority, f.trace,
            f.start_attempts, f.due_at
       from first f left join running r on r.tenant = f.tenant and r.scope = f.scope
      where (select coalesce(sum(n), 0) from running) < $1 and coalesce(r.n, 0) < $2
        and (f.due_at < clock_timestamp() - $3 * interval '1 second' or f.start_attempts >= $4)
      order by f.due_at limit ${MOST_SUBJECTS}`,
    [limits.maxRunning, limits.maxRunningPerScope, RELAY_BOUND_S, MANY_STARTS],
  );
  return rows;
}

function overdueStart(row: OverdueRow): Found {
  const waits =
    row.start_attempts >= MANY_STARTS
      ? `was started ${row.start_attempts} times and still waits: no worker begins it, or Temporal refuses it`
      : `is due for ${minutes(row.due_at)} and no relay starts it: no worker process is alive`;
  return {
    subject: `operation ${row.id}`,
    message: `${row.kind} of ${row.tenant} ${waits}`,
    tenant: row.tenant,
    operationId: row.id,
  };
}

const noWorker: RowCheck = {
  name: "no-worker",
  explanation: "while work is due, a worker is alive",
  async find({ db }) {
    if ((await onlineWorkers(db)).length > 0) return [];
    const { rows } = await db.query<{
      open: number;
      marks: boolean;
      deliveries: boolean;
      indexMarks: boolean | null;
      entities: boolean;
    }>(
      `select (select count(*)::int from (select from holdfast.operations op
                where (op.state = 'running' or (op.state = 'accepted'
                        and op.due_at < clock_timestamp() - interval '60 seconds'))
                  and op.paused_at is null and not ${isBraked("op")} limit 10000) o) as open,
              exists (select from holdfast.marks m where ${LONG_DUE("m")}) as marks,
              exists (select from holdfast.deliveries d
                       where d.state = 'pending' and ${LONG_DUE("d")}) as deliveries,
              (select min(oldest) from (${OLDEST_INDEX_MARKS}) m) < ${LONG_AGO} as "indexMarks",
              ${INVENTORY_IS_DUE} as entities`,
    );
    const { open, marks, deliveries, indexMarks, entities } = rows[0]!;
    const due = [
      open > 0 ? `${open} open operations` : "",
      marks ? "due marks" : "",
      deliveries ? "due deliveries" : "",
      indexMarks ? "marks of written objects that search does not find yet" : "",
      entities ? "entities to plan" : "",
    ].filter(Boolean);
    if (due.length === 0) return [];
    return [
      {
        subject: "workers",
        message: `no worker is alive, and there are ${due.join(", ")}: start "holdfast worker"`,
      },
    ];
  },
};

const LONG_AGO = "clock_timestamp() - interval '10 minutes'";
const LONG_DUE = (row: string) => `${row}.due_at < ${LONG_AGO}`;

const workerVanished: RowCheck = {
  name: "worker-vanished",
  explanation: "a worker that is gone has said so",
  async find({ db }) {
    const { rows } = await db.query<{ id: string; identity: string; seen_at: Date }>(
      `select id, identity, seen_at from holdfast.workers
        where seen_at < clock_timestamp() - interval '2 minutes'
        order by seen_at limit ${MOST_SUBJECTS}`,
    );
    return rows.map((row) => ({
      subject: `worker ${row.id}`,
      message:
        `${row.identity} was last heard of ${minutes(row.seen_at)} ago and never stopped: it was ` +
        "killed, or it hangs",
      repair: "forget it; one that lives says so again",
    }));
  },
  async repair({ db }, { subject }) {
    const { rowCount } = await db.query(
      `delete from holdfast.workers
        where id = $1 and seen_at < clock_timestamp() - interval '2 minutes'`,
      [subject.slice("worker ".length)],
    );
    return rowCount ? "forgot it" : undefined;
  },
};

/** While a worker lives: nobody drains the queue, or its drain falls far behind. */
const IS_LATE = `(q.oldest < clock_timestamp() - interval '1 hour'
  or (q.oldest < clock_timestamp() - interval '10 minutes'
      and coalesce(d.seen_at, '-infinity') < clock_timestamp() - interval '2 minutes'))`;
const QUEUE_IS_FREE = `not exists (select from holdfast.brakes b
  where b.applies_to = 'all' or (b.applies_to = 'queue' and b.name = q.queue))`;

interface LateQueue {
  queue: string;
  due: number;
  oldest: Date;
}

function late(what: string, row: LateQueue): Found {
  const shown = row.due >= 10_000 ? "10,000 or more" : String(row.due);
  return {
    subject: `queue ${row.queue}`,
    message: `${shown} ${what} due in ${row.queue}, the oldest for ${minutes(row.oldest)}`,
    repair: "wake its drain",
  };
}

const overdueMarks: RowCheck = {
  name: "overdue-marks",
  explanation: "no due mark is older than its bound while a worker lives",
  async find({ db }) {
    if ((await onlineWorkers(db)).length === 0) return [];
    const { rows } = await db.query<LateQueue>(
      `select q.queue, q.due, q.oldest
         from (select queue, count(*)::int as due, min(due_at) as oldest
                 from (select queue, due_at from holdfast.marks m where ${isDue("m")}
                        order by due_at limit 10000) as waiting
                group by queue) q
         left join (select queue, max(seen_at) as seen_at from holdfast.drains group by 1) d
           on d.queue = q.queue
        where ${IS_LATE} and ${QUEUE_IS_FREE}
        order by q.queue limit ${MOST_SUBJECTS}`,
    );
    return rows.map((row) => late("marks are", row));
  },
  repair: ({ db }, { subject }) => wakeDrains(db, subject.slice("queue ".length)),
};

const overdueDeliveries: RowCheck = {
  name: "overdue-deliveries",
  explanation: "no undelivered event is older than its bound while a worker lives",
  async find({ db }) {
    if ((await onlineWorkers(db)).length === 0) return [];
    const { rows } = await db.query<LateQueue>(
      `select q.queue, q.due, q.oldest
         from (select 'deliver' as queue, count(*)::int as due, min(due_at) as oldest
                 from (select due_at from holdfast.deliveries v
                        where v.state = 'pending' and ${isDue("v")}
                        order by due_at limit 10000) as waiting) q
         left join holdfast.drains d on d.queue = q.queue
        where q.due > 0 and ${IS_LATE} and ${QUEUE_IS_FREE}`,
    );
    return rows.map((row) => late("deliveries are", row));
  },
  repair: ({ db }, { subject }) => wakeDrains(db, subject.slice("queue ".length)),
};

const overdueIndexMarks: RowCheck = {
  name: "overdue-index-marks",
  explanation: "no mark of the search index is older than its bound while a worker lives",
  async find({ db }) {
    if ((await onlineWorkers(db)).length === 0) return [];
    const { rows } = await db.query<LateQueue>(
      `select q.queue, q.due, q.oldest
         from (select '${INDEX_QUEUE}' as queue, min(m.oldest) as oldest,
                      (select count(*)::int
                         from (select from holdfast.index_marks limit 10000) as counted) as due
                 from (${OLDEST_INDEX_MARKS}) m) q
         left join (select max(seen_at) as seen_at from holdfast.drains
                     where queue = '${INDEX_QUEUE}') d on true
        where q.oldest is not null and ${IS_LATE} and ${QUEUE_IS_FREE}`,
    );
    return rows.map((row) => late("marks are", row));
  },
  repair: ({ db }, { subject }) => wakeDrains(db, subject.slice("queue ".length)),
};

/** The relay wakes them with its next tick; one that is at work already looks again, no more. */
async function wakeDrains(db: Queryable, queue: string): Promise<string | undefined> {
  const { rowCount } = await db.query(
    `update holdfast.drains set wake_at = clock_timestamp()
      where queue = $1 and wake_at > clock_timestamp()`,
    [queue],
  );
  return rowCount ? "woke its drain" : undefined;
}

/** Works without Temporal, but can start what it finds only with it. */
export function relayLag<Deps extends { db: Queryable }>(
  start?: (deps: Deps, row: OverdueRow) => Promise<string>,
): Check<Deps> {
  return {
    name: "relay-lag",
    explanation: "accepted operations that may start are started within a minute",
    // A pause lifted or a slot freed this very moment is the relay's next tick.
    confirmAfterMs: 3_000,
    async find({ db }, limits) {
      const rows = await findOverdueStarts(db, limits);
      return rows.map((row) => ({
        ...overdueStart(row),
        ...(start && row.start_attempts < MANY_STARTS ? { repair: "start it" } : {}),
      }));
    },
    ...(start && {
      async repair(deps, { operationId }) {
        const row = await findWaiting(deps.db, operationId!);
        return row ? start(deps, row) : undefined;
      },
    }),
  };
}

async function findWaiting(db: Queryable, id: string): Promise<OverdueRow | undefined> {
  const { rows } = await db.query<OverdueRow>(
    `select id, kind, tenant, scope, generation, total, priority, trace, start_attempts, due_at
       from holdfast.operations op
      where id = $1 and state = 'accepted' and paused_at is null
        and due_at <= clock_timestamp() and not ${isBraked("op")}`,
    [id],
  );
  return rows[0];
}

export const QUEUE_CHECKS: readonly RowCheck[] = [
  noWorker,
  workerVanished,
  overdueMarks,
  overdueIndexMarks,
  overdueDeliveries,
];
