import type { EventType } from "../contracts/webhook.ts";
import type { Queryable, Tx } from "./pool.ts";

/** Webhooks: who wants to hear of what. Secrets are written here and read by the claim alone. */

export interface WebhookRow {
  id: string;
  tenant: string;
  url: string;
  events: EventType[];
  created_by: string;
  created_at: Date;
  disabled_at: Date | null;
  disabled_reason: string | null;
  pending: number;
  dead: number;
}

export async function insertWebhook(
  tx: Tx,
  webhook: {
    id: string;
    tenant: string;
    url: string;
    events: readonly EventType[];
    secret: string;
    by: string;
  },
): Promise<void> {
  await tx.query(
    `with added as (
       insert into holdfast.webhooks (id, tenant, url, events, created_by)
       values ($1, $2, $3, $4, $5)
       returning id
     )
     insert into holdfast.webhook_secrets (webhook_id, secret) select id, $6 from added`,
    [webhook.id, webhook.tenant, webhook.url, webhook.events, webhook.by, webhook.secret],
  );
}

/** Webhooks in order of making, disabled ones too. At most `limit`. */
export async function listWebhooks(
  db: Queryable,
  filter: {
    id?: string | undefined;
    tenant?: string | undefined;
    tenants?: readonly string[] | undefined;
    limit: number;
  },
): Promise<WebhookRow[]> {
  const { rows } = await db.query<WebhookRow>(
    `select w.id, w.tenant, w.url, w.events, w.created_by, w.created_at, w.disabled_at,
            w.disabled_reason, coalesce(d.pending, 0) as pending, coalesce(d.dead, 0) as dead
       from holdfast.webhooks w
       left join lateral (
         select (count(*) filter (where state = 'pending'))::int as pending,
                (count(*) filter (where state = 'dead'))::int as dead
           from holdfast.deliveries where webhook_id = w.id) d on true
      where ($1::uuid is null or w.id = $1)
        and ($2::text is null or w.tenant = $2)
        and ($3::text[] is null or w.tenant = any($3))
      order by w.id
      limit $4`,
    [filter.id ?? null, filter.tenant ?? null, filter.tenants ?? null, filter.limit],
  );
  return rows;
}

export async function countWebhooks(db: Queryable, tenant: string): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    "select count(*)::int as n from holdfast.webhooks where tenant = $1",
    [tenant],
  );
  return rows[0]!.n;
}

/** With it go its secret, its deliveries and their tries. */
export async function deleteWebhook(tx: Tx, id: string): Promise<boolean> {
  const { rowCount } = await tx.query("delete from holdfast.webhooks where id = $1", [id]);
  return rowCount === 1;
}

/** Nothing more is sent to it; what was on its way is given up. False: it was disabled before. */
export async function disableWebhook(tx: Tx, id: string, reason: string): Promise<boolean> {
  const { rows } = await tx.query<{ n: number }>(
    `with disabled as (
       update holdfast.webhooks set disabled_at = clock_timestamp(), disabled_reason = $2
        where id = $1 and disabled_at is null
       returning id
     ), given_up as (
       update holdfast.deliveries set state = 'dead', finished_at = clock_timestamp()
        where webhook_id = $1 and state = 'pending'
     )
     select count(*)::int as n from disabled`,
    [id, reason],
  );
  return rows[0]!.n === 1;
}
