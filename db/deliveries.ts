import type { DeliveryState, DeliveryTry, EventType } from "../contracts/webhook.ts";
import type { Page } from "../contracts/operation.ts";
import { isDue } from "./marks.ts";
import type { Queryable, Tx } from "./pool.ts";

/**
 * Deliveries: one event on its way to one webhook. A claim is a committed update that counts the
 * try and puts the row off past the longest send, so a sender that dies costs one try and a wait.
 */

export interface ClaimedDelivery {
  event_id: string;
  webhook_id: string;
  /** Which try this is, from 1; names it in `delivery_attempts`. */
  attempt: number;
  /** Tries that no longer count towards the cap. */
  forgiven: number;
  url: string;
  secret: string;
  type: EventType;
  at: Date;
  tenant: string;
  operation_id: string | null;
  body: Record<string, unknown>;
}

/**
 * Claims due deliveries, one webhook after the other, so that a deep backlog of one does not hold
 * up the others. `room`: how many more a webhook may have on its way; those not named, `each`.
 */
export async function claimDeliveries(
  db: Queryable,
  claim: { limit: number; each: number; room: ReadonlyMap<string, number>; leaseMs: number },
): Promise<ClaimedDelivery[]> {
  const { rows } = await db.query<ClaimedDelivery>(
    `with candidates as (
       select d.event_id, d.webhook_id
         from holdfast.webhooks w
         left join unnest($1::uuid[], $2::int[]) as r(webhook_id, room) on r.webhook_id = w.id
        cross join lateral (
          select d.event_id, d.webhook_id, d.due_at,
                 row_number() over (order by d.due_at, d.event_id) as turn
            from holdfast.deliveries d
           where d.webhook_id = w.id and d.state = 'pending' and ${isDue("d")}
           order by d.due_at, d.event_id
           limit coalesce(r.room, $3)) d
        where w.disabled_at is null
        order by d.turn, d.due_at
        limit $4
     ), picked as (
       select d.event_id, d.webhook_id
         from holdfast.deliveries d
         join candidates c using (event_id, webhook_id)
        where d.state = 'pending' and ${isDue("d")}
          for update of d skip locked
     )
     update holdfast.deliveries d
        set attempts = d.attempts + 1, due_at = clock_timestamp() + $5 * interval '1 millisecond'
       from picked p, holdfast.events e, holdfast.webhooks w, holdfast.webhook_secrets s
      where d.event_id = p.event_id and d.webhook_id = p.webhook_id
        and e.id = d.event_id and w.id = d.webhook_id and s.webhook_id = d.webhook_id
     returning d.event_id, d.webhook_id, d.attempts as attempt, d.forgiven, w.url, s.secret,
               e.type, e.at, e.tenant, e.operation_id, e.body`,
    [[...claim.room.keys()], [...claim.room.values()], claim.each, claim.limit, claim.leaseMs],
  );
  return rows;
}

export interface TriedDelivery {
  eventId: string;
  webhookId: string;
  attempt: number;
  status: number | undefined;
  durationMs: number;
  error: string | undefined;
  next: { state: "delivered" } | { state: "dead" } | { state: "pending"; waitMs: number };
}

// A success always counts; a failure only while no later try was claimed.
const COUNTS = "d.state = 'pending' and (d.attempts = $3 or $7 = 'delivered')";

/**
 * Records a try and what follows from it; of a try that was overtaken it records that it was made.
 * Nothing happens when the webhook or the event is gone.
 */
export async function settleDelivery(db: Queryable, tried: TriedDelivery): Promise<void> {
  const { next } = tried;
  await db.query(
    `with settled as (
       update holdfast.deliveries d
          set state = case when ${COUNTS} then $7 else d.state end,
              due_at = case when ${COUNTS}
                            then clock_timestamp() + $8 * interval '1 millisecond'
                            else d.due_at end,
              finished_at = case when ${COUNTS} and $7 <> 'pending'
                                 then clock_timestamp() else d.finished_at end
        where d.event_id = $1 and d.webhook_id = $2
       returning d.event_id, d.webhook_id
     )
     insert into holdfast.delivery_attempts
       (event_id, webhook_id, attempt, status, duration_ms, error)
     select event_id, webhook_id, $3, $4, $5, $6 from settled
     on conflict do nothing`,
    [
      tried.eventId,
      tried.webhookId,
      tried.attempt,
      tried.status ?? null,
      tried.durationMs,
      tried.error?.slice(0, 1_000) ?? null,
      next.state,
      next.state === "pending" ? next.waitMs : 0,
    ],
  );
}

/** Gives up what came for a webhook while it was being disabled. */
export async function buryUndeliverable(db: Queryable): Promise<void> {
  await db.query(
    `update holdfast.deliveries d set state = 'dead', finished_at = clock_timestamp()
       from holdfast.webhooks w
      where w.id = d.webhook_id and w.disabled_at is not null and d.state = 'pending'`,
  );
}

/** When the next delivery is due, in milliseconds from now; not above 0: due already. */
export async function nextDeliveryDue(db: Queryable): Promise<number | undefined> {
  const { rows } = await db.query<{ ms: number | null }>(
    `select (extract(epoch from min(due_at) - clock_timestamp()) * 1000)::float8 as ms
       from holdfast.deliveries where state = 'pending'`,
  );
  return rows[0]!.ms ?? undefined;
}

/** Pending again and due at once, with all its tries before it. False: there is no such delivery. */
export async function markRedelivered(
  tx: Tx,
  eventId: string,
  webhookId: string,
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update holdfast.deliveries
        set state = 'pending', forgiven = attempts, due_at = clock_timestamp(), finished_at = null
      where event_id = $1 and webhook_id = $2`,
    [eventId, webhookId],
  );
  return rowCount === 1;
}

export interface DeliveryRow {
  event_id: string;
  webhook_id: string;
  type: EventType;
  at: Date;
  operation_id: string | null;
  state: DeliveryState;
  attempts: number;
  due_at: Date;
  finished_at: Date | null;
  tries: DeliveryTry[];
}

/** Deliveries of one webhook, newest event first, each with its latest tries (at most 50). */
export async function listDeliveries(
  db: Queryable,
  webhookId: string,
  filter: {
    eventId?: string | undefined;
    state?: DeliveryState | undefined;
    after?: string | undefined;
    limit: number;
  },
): Promise<Page<DeliveryRow>> {
  const { rows } = await db.query<DeliveryRow>(
    `select d.event_id, d.webhook_id, e.type, e.at, e.operation_id, d.state, d.attempts, d.due_at,
            d.finished_at, coalesce(t.tries, '[]') as tries
       from holdfast.deliveries d
       join holdfast.events e on e.id = d.event_id
       left join lateral (
         select jsonb_agg(jsonb_build_object(
                  'attempt', a.attempt,
                  'at', to_char(a.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                  'status', a.status, 'durationMs', a.duration_ms, 'error', a.error)
                order by a.attempt) as tries
           from (select * from holdfast.delivery_attempts
                  where event_id = d.event_id and webhook_id = d.webhook_id
                  order by attempt desc limit 50) a) t on true
      where d.webhook_id = $1
        and ($2::uuid is null or d.event_id = $2)
        and ($3::text is null or d.state = $3)
        and ($4::uuid is null or d.event_id < $4)
      order by d.event_id desc
      limit $5`,
    [
      webhookId,
      filter.eventId ?? null,
      filter.state ?? null,
      filter.after ?? null,
      filter.limit + 1,
    ],
  );
  const items = rows.slice(0, filter.limit);
  return rows.length > filter.limit ? { items, next: items.at(-1)!.event_id } : { items };
}
