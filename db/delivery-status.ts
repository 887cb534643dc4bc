import type { Queryable } from "./pool.ts";

/** How deliveries stand, for people who look. The `deliver` drain claims them elsewhere. */

/** Pending deliveries: how many, how many of them due, and since when the oldest is due. */
export async function deliveryDepth(
  db: Queryable,
): Promise<{ pending: number; due: number; oldest: Date | null }> {
  const { rows } = await db.query<{ pending: number; due: number; oldest: Date | null }>(
    `select count(*)::int as pending,
            (count(*) filter (where due_at <= clock_timestamp()))::int as due,
            min(due_at) filter (where due_at <= clock_timestamp()) as oldest
       from holdfast.deliveries where state = 'pending'`,
  );
  return rows[0]!;
}

export interface DeliveryStatusRow {
  event_id: string;
  url: string;
  state: "pending" | "delivered" | "dead";
  attempts: number;
  due_at: Date;
  finished_at: Date | null;
  /** HTTP status and error of the last attempt. */
  status: number | null;
  error: string | null;
}

/** Deliveries of an operation's events, each with its last attempt. At most `limit`, newest first. */
export async function deliveriesOfOperation(
  db: Queryable,
  operationId: string,
  limit = 50,
): Promise<DeliveryStatusRow[]> {
  const { rows } = await db.query<DeliveryStatusRow>(
    `select d.event_id, w.url, d.state, d.attempts, d.due_at, d.finished_at, a.status, a.error
       from holdfast.events e
       join holdfast.deliveries d on d.event_id = e.id
       join holdfast.webhooks w on w.id = d.webhook_id
       left join lateral (
         select status, error from holdfast.delivery_attempts
          where event_id = d.event_id and webhook_id = d.webhook_id
          order by attempt desc limit 1) a on true
      where e.operation_id = $1
      order by d.event_id desc, w.url
      limit $2`,
    [operationId, limit],
  );
  return rows;
}
