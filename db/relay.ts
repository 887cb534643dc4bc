import type { Queryable } from "./pool.ts";
import { isBraked } from "./brakes.ts";
import { hasFreeIndexMarks } from "./index-claim.ts";
import { INDEX_QUEUE } from "./index-marks.ts";
import { INVENTORY_IS_DUE, RECONCILE_QUEUE, SOME_ENTITY_IS_DUE } from "./plan-due.ts";
import { targetDrainIsDue } from "./plan-lease-due.ts";

/**
 * What the relay claims: rows about which Temporal has to be told. A claim is a committed update
 * that puts the row's next turn off, never a lock held across a call; a relay that dies after it
 * costs one back-off, and a row that still needs its turn is claimed again.
 */

export interface Claimed {
  verb: "start" | "wake" | "cancel";
  id: string;
  kind: string;
  tenant: string;
  scope: string;
  generation: number;
  total: number;
  priority: number;
  trace: string | null;
  start_attempts: number;
  accepted_at: Date;
  /** Of a wake: the turn this claim put it off to, which names the claim. */
  wake_at: string | null;
}

export interface RelayLimits {
  /** Claims of one tick. */
  batch: number;
  /** Operations running at once, all tenants. */
  maxRunning: number;
  /** Operations running at once in one scope (a bank). */
  maxRunningPerScope: number;
}

// Back-off of a start: 2 s, 4 s, ... 60 s. "Use existing" makes an early repeat harmless.
const START_BACKOFF = "least(60, power(2, least(op.start_attempts, 6) + 1)) * interval '1 second'";

/** Where a round of starts goes on: after this scope, in order of tenant and scope. */
export interface Turn {
  tenant: string;
  scope: string;
}

export const FIRST_TURN: Turn = { tenant: "", scope: "" };

/** SQL that is true for a row `op` that may be started now. */
const isStartable = (op: string) => `(${op}.state = 'accepted' and ${op}.due_at <= clock_timestamp()
  and ${op}.paused_at is null and not ${isBraked(op)})`;

/** Scopes looked at for one claim, and candidates of each. */
const SCOPES = 200;
const CANDIDATES = 50;

/**
 * One statement for all three verbs. Starts go round-robin over scopes, beginning after `turn`, one
 * of each scope before a second of any; in a scope by priority, then oldest first. A scope at its
 * cap, or with a million rows waiting, does not hold up the others: each is probed by index. A row
 * that was told and has not begun takes a place until its back-off is over; a paused one takes none,
 * nor do a running job, which waits for whoever claims from it, and a running plan, which waits for
 * whoever decides.
 */
export async function claimForRelay(
  db: Queryable,
  limits: RelayLimits,
  turn: Turn = FIRST_TURN,
): Promise<Claimed[]> {
  const { rows } = await db.query<Claimed>(
    `with recursive scopes as (
       (select tenant, scope, 1 as n from holdfast.operations o
         where ${isStartable("o")} and (tenant collate "C", scope collate "C") > ($4, $5)
         order by tenant collate "C", scope collate "C" limit 1)
       union all
       select following.tenant, following.scope, s.n + 1
         from scopes s
        cross join lateral (
          select tenant, scope from holdfast.operations o
           where ${isStartable("o")}
             and (tenant collate "C", scope collate "C") > (s.tenant, s.scope)
           order by tenant collate "C", scope collate "C" limit 1) following
        where s.n < ${SCOPES}
     ), running as (
       select tenant, scope, count(*) as n
         from (select tenant, scope from holdfast.operations
                where state = 'running' and paused_at is null and kind not in ('job', 'plan')
                union all
               select tenant, scope from holdfast.operations
                where state = 'accepted' and start_attempts > 0
                  and due_at > clock_timestamp()) as taken
        group by 1, 2
     ), startable as (
       select s.tenant, s.scope, op.id,
              row_number() over (partition by s.tenant, s.scope order by op.priority, op.id)
                + coalesce(r.n, 0) as place
         from scopes s
         left join running r on r.tenant = s.tenant and r.scope = s.scope
        cross join lateral (
          select o.id, o.priority from holdfast.operations o
           where ${isStartable("o")}
             and o.tenant collate "C" = s.tenant and o.scope collate "C" = s.scope
           order by o.priority, o.id limit ${CANDIDATES}) op
     ), to_start as (
       select id from startable where place <= $3
        order by place, tenant, scope
        limit greatest(0, least($1::bigint, $2::bigint - (select coalesce(sum(n), 0) from running)))
     ), started as (
       update holdfast.operations op
          set start_attempts = op.start_attempts + 1, due_at = clock_timestamp() + ${START_BACKOFF}
         from (select o.id from holdfast.operations o join to_start t on t.id = o.id
                where o.state = 'accepted' and o.due_at <= clock_timestamp()
                for update of o skip locked) picked
        where op.id = picked.id
       returning 'start' as verb, op.*
     ), woken as (
       update holdfast.operations op set wake_at = clock_timestamp() + interval '5 seconds'
         from (select id from holdfast.operations
                where state = 'running' and wake_at <= clock_timestamp()
                order by wake_at limit $1 for update skip locked) picked
        where op.id = picked.id
       returning 'wake' as verb, op.*
     ), cancelled as (
       update holdfast.operations op set cancel_due_at = clock_timestamp() + interval '5 seconds'
         from (select id from holdfast.operations
                where state = 'running' and cancel_requested_at is not null
                  and cancel_due_at <= clock_timestamp()
                order by cancel_due_at limit $1 for update skip locked) picked
        where op.id = picked.id
       returning 'cancel' as verb, op.*
     )
     select verb, id, kind, tenant, scope, generation, total, priority, trace, start_attempts,
            accepted_at, wake_at::text
       from (select * from started union all select * from woken union all select * from cancelled)
            as claimed`,
    [limits.batch, limits.maxRunning, limits.maxRunningPerScope, turn.tenant, turn.scope],
  );
  return rows;
}

/**
 * Wakes that stand in the history of their workflow: nobody need tell it again. One that was asked for
 * since the claim is another turn of the row, and stays. A row that is locked is told once more.
 */
export async function clearWakes(
  db: Queryable,
  told: readonly Pick<Claimed, "id" | "wake_at">[],
): Promise<void> {
  await db.query(
    `update holdfast.operations op set wake_at = null
       from (select o.id from holdfast.operations o
               join unnest($1::uuid[], $2::timestamptz[]) as t(id, wake_at)
                 on t.id = o.id and t.wake_at = o.wake_at
              for update of o skip locked) picked
      where op.id = picked.id`,
    [told.map((row) => row.id), told.map((row) => row.wake_at)],
  );
}

const DRAIN_OF_OTHERS_IS_DUE = `exists (select from holdfast.marks m
                      where m.queue = d.queue and m.due_at <= clock_timestamp())
             or (d.queue = 'deliver' and exists (
                   select from holdfast.deliveries v
                    where v.state = 'pending' and v.due_at <= clock_timestamp()))
             or (d.queue = '${INDEX_QUEUE}' and ${hasFreeIndexMarks("d.lane")})`;

const DRAIN_OF_ENTITIES_IS_DUE = `(${targetDrainIsDue("d")})
             or (d.queue = '${RECONCILE_QUEUE}' and ${INVENTORY_IS_DUE})`;

const DRAIN_IS_DUE = `d.wake_at <= clock_timestamp()
        and (${DRAIN_OF_OTHERS_IS_DUE} or ${DRAIN_OF_ENTITIES_IS_DUE})`;

/**
 * Whether there may be anything to tell: all that a relay at rest asks. Which branches may be worked is
 * only asked while there are entities that are due at all: that question takes longer to plan than all
 * the others.
 */
export async function hasSomethingToTell(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ some: boolean; entities: boolean }>(
    `select exists (select from holdfast.operations
                     where state = 'accepted' and due_at <= clock_timestamp())
         or exists (select from holdfast.operations
                     where state = 'running' and wake_at <= clock_timestamp())
         or exists (select from holdfast.operations
                     where state = 'running' and cancel_requested_at is not null
                       and cancel_due_at <= clock_timestamp())
         or exists (select from holdfast.drains d
                     where d.wake_at <= clock_timestamp() and (${DRAIN_OF_OTHERS_IS_DUE})) as some,
            ${SOME_ENTITY_IS_DUE} as entities`,
  );
  const { some, entities } = rows[0]!;
  return some || (entities && (await isDrainOfEntitiesDue(db)));
}

async function isDrainOfEntitiesDue(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ some: boolean }>(
    `select exists (select from holdfast.drains d
                     where d.wake_at <= clock_timestamp() and (${DRAIN_OF_ENTITIES_IS_DUE})) as some`,
  );
  return rows[0]!.some;
}

/** Drains whose queue has due rows and that nobody has woken or seen lately. */
export async function claimDrainsToWake(db: Queryable): Promise<{ queue: string; lane: number }[]> {
  const { rows } = await db.query<{ queue: string; lane: number }>(
    `update holdfast.drains d set wake_at = clock_timestamp() + interval '10 seconds'
      where ${DRAIN_IS_DUE}
      returning queue, lane`,
  );
  return rows;
}

/** A drain is at work: nobody needs to wake it for a while. */
export async function markDrainSeen(
  db: Queryable,
  drain: { queue: string; lane: number },
  restsAfter: boolean,
): Promise<void> {
  await db.query(
    `update holdfast.drains
        set seen_at = clock_timestamp(),
            wake_at = clock_timestamp() + case when $3 then interval '0' else interval '30 seconds' end
      where queue = $1 and lane = $2`,
    [drain.queue, drain.lane, restsAfter],
  );
}
