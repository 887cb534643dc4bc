import { randomBytes } from "node:crypto";
import { v7 as uuidv7 } from "uuid";
import { NotFound, RefusedByPolicy, TooLarge } from "../contracts/errors.ts";
import { Tenant, type Page } from "../contracts/operation.ts";
import {
  DeliveryFilter,
  EventId,
  NewWebhook,
  WebhookId,
  type DeliveryView,
  type WebhookAdded,
  type WebhookView,
} from "../contracts/webhook.ts";
import { insertAudit } from "../db/audit.ts";
import { listDeliveries, markRedelivered, type DeliveryRow } from "../db/deliveries.ts";
import type { Queryable } from "../db/pool.ts";
import {
  countWebhooks,
  deleteWebhook,
  insertWebhook,
  listWebhooks,
  type WebhookRow,
} from "../db/webhooks.ts";
import { destinationOf } from "../domain/destination.ts";
import { asking, assertTenant, defaultTenant, type Context } from "./context.ts";
import { parseInput } from "./input.ts";

/** Who hears of events, and how each delivery went. */
export interface WebhookClient {
  /**
   * Subscribes a tenant. The secret that signs the messages is in this answer and nowhere else.
   * @throws InvalidInput, RefusedByPolicy when the configuration does not allow the destination
   */
  add(webhook: NewWebhook): Promise<WebhookAdded>;
  /** In order of making, disabled ones too. At most 1,000. */
  list(filter?: { tenant?: string }): Promise<WebhookView[]>;
  /** @throws NotFound */
  get(id: string): Promise<WebhookView>;
  /** Ends the subscription; what was on its way is dropped. @throws NotFound */
  remove(id: string): Promise<void>;
  /** Newest event first, 50 a page unless `limit` (1 to 200) says otherwise. @throws NotFound */
  deliveries(id: string, filter?: DeliveryFilter): Promise<Page<DeliveryView>>;
  /** Sends an event again, with all its tries before it, however it ended. @throws NotFound */
  redeliver(eventId: string, webhookId: string): Promise<DeliveryView>;
}

const SECRET_BYTES = 32;
const PER_TENANT = 100;
const LISTED = 1_000;

export function webhookClient(context: Context): WebhookClient {
  const { db } = context;
  return {
    add: (input) => asking(() => add(context, input)),
    list: ({ tenant } = {}) =>
      asking(async () => {
        if (tenant !== undefined) assertTenant(context, parseInput(Tenant, tenant, "tenant"));
        const filter = { tenant, tenants: context.tenants, limit: LISTED };
        return (await listWebhooks(db, filter)).map(webhookView);
      }),
    get: (id) => asking(() => visible(context, db, id)),
    remove: (id) => asking(() => remove(context, id)),
    deliveries: (id, filter = {}) =>
      asking(async () => {
        const parsed = parseInput(DeliveryFilter, filter);
        await visible(context, db, id);
        const page = await listDeliveries(db, id, parsed);
        return { ...page, items: page.items.map(deliveryView) };
      }),
    redeliver: (eventId, webhookId) => asking(() => redeliver(context, eventId, webhookId)),
  };
}

async function add(context: Context, input: NewWebhook): Promise<WebhookAdded> {
  const parsed = parseInput(NewWebhook, input);
  const tenant = parsed.tenant ?? defaultTenant(context);
  assertTenant(context, tenant);
  const destination = destinationOf(parsed.url, context.config.webhooks?.allow);
  if (!destination.allowed) throw new RefusedByPolicy(`url: ${destination.reason}`);

  const id = uuidv7();
  const secret = parsed.secret ?? `whsec_${randomBytes(SECRET_BYTES).toString("base64")}`;
  const { url, events } = parsed;
  const view = await context.db.transaction(async (tx) => {
    if ((await countWebhooks(tx, tenant)) >= PER_TENANT) {
      throw new TooLarge("tenant", `${tenant} has ${PER_TENANT} webhooks: remove one first`);
    }
    await insertWebhook(tx, { id, tenant, url, events, secret, by: context.actor });
    await insertAudit(tx, {
      actor: context.actor,
      action: "webhook.add",
      tenant,
      subject: id,
      after: { url, events },
    });
    return visible(context, tx, id);
  });
  return { ...view, secret };
}

async function remove(context: Context, id: string): Promise<void> {
  await context.db.transaction(async (tx) => {
    const { tenant, url, events } = await visible(context, tx, id);
    if (!(await deleteWebhook(tx, id))) throw unknown(id);
    await insertAudit(tx, {
      actor: context.actor,
      action: "webhook.remove",
      tenant,
      subject: id,
      before: { url, events },
    });
  });
}

async function redeliver(
  context: Context,
  eventId: string,
  webhookId: string,
): Promise<DeliveryView> {
  parseInput(EventId, eventId, "eventId");
  return context.db.transaction(async (tx) => {
    const { tenant, disabledAt, disabledReason } = await visible(context, tx, webhookId);
    if (disabledAt !== null) {
      throw new RefusedByPolicy(
        `webhook ${webhookId} is disabled (${disabledReason}): add it anew to receive events`,
      );
    }
    if (!(await markRedelivered(tx, eventId, webhookId))) {
      throw new NotFound("delivery of event", eventId, "see the deliveries of the webhook");
    }
    await insertAudit(tx, {
      actor: context.actor,
      action: "webhook.redeliver",
      tenant,
      subject: webhookId,
      after: { eventId },
    });
    const { items } = await listDeliveries(tx, webhookId, { eventId, limit: 1 });
    return deliveryView(items[0]!);
  });
}

async function visible(context: Context, db: Queryable, id: string): Promise<WebhookView> {
  parseInput(WebhookId, id, "id");
  const [row] = await listWebhooks(db, { id, tenants: context.tenants, limit: 1 });
  if (!row) throw unknown(id);
  return webhookView(row);
}

function unknown(id: string): NotFound {
  return new NotFound("webhook", id, 'see "holdfast webhook list"');
}

function webhookView(row: WebhookRow): WebhookView {
  return {
    id: row.id,
    tenant: row.tenant,
    url: row.url,
    events: row.events,
    createdBy: row.created_by,
    createdAt: row.created_at.toISOString(),
    disabledAt: row.disabled_at?.toISOString() ?? null,
    disabledReason: row.disabled_reason,
    pending: row.pending,
    dead: row.dead,
  };
}

function deliveryView(row: DeliveryRow): DeliveryView {
  return {
    eventId: row.event_id,
    webhookId: row.webhook_id,
    type: row.type,
    at: row.at.toISOString(),
    operationId: row.operation_id,
    state: row.state,
    attempts: row.attempts,
    nextTryAt: row.state === "pending" ? row.due_at.toISOString() : null,
    finishedAt: row.finished_at?.toISOString() ?? null,
    tries: row.tries,
  };
}
