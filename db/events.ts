import { v7 as uuidv7 } from "uuid";
import type { EventType } from "../contracts/webhook.ts";
import type { Queryable, Tx } from "./pool.ts";

/** The outbox: an event and who must hear of it, written in the transaction that caused it. */

export interface NewEvent {
  type: EventType;
  tenant: string;
  operationId?: string;
  body: Record<string, unknown>;
}

/** Writes events and one pending delivery for each webhook of the tenant that asked for them. */
export async function insertEvents(tx: Tx, events: readonly NewEvent[]): Promise<void> {
  if (events.length === 0) return;
  await tx.query(
    `with written as (
       insert into holdfast.events (id, type, tenant, operation_id, body)
       select * from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::jsonb[])
       returning id, type, tenant
     )
     insert into holdfast.deliveries (event_id, webhook_id, tenant)
     select written.id, w.id, written.tenant
       from written
       join holdfast.webhooks w
         on w.tenant = written.tenant and w.disabled_at is null and written.type = any(w.events)`,
    [
      events.map(() => uuidv7()),
      events.map((event) => event.type),
      events.map((event) => event.tenant),
      events.map((event) => event.operationId ?? null),
      events.map((event) => JSON.stringify(event.body)),
    ],
  );
}

export interface EventRow {
  id: string;
  at: Date;
  type: EventType;
  tenant: string;
  operation_id: string | null;
  body: Record<string, unknown>;
}

/** Events of an operation in order. */
export async function listEvents(db: Queryable, operationId: string): Promise<EventRow[]> {
  const { rows } = await db.query<EventRow>(
    `select id, at, type, tenant, operation_id, body from holdfast.events
      where operation_id = $1 order by id limit 1000`,
    [operationId],
  );
  return rows;
}
