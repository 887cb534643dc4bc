import type { HoldfastConfig } from "../contracts/config.ts";
import { insertEvents } from "./events.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import { defaultSettings } from "./inventory-settings.ts";
import type { Db, Queryable, Tx } from "./pool.ts";

/** What has waited too long for a decision: told of, and at last given up. */

interface Waiting extends InventoryPlace {
  expires: boolean;
  isOverdue: boolean;
  isTold: boolean;
  expireSeconds: number | null;
}

/** Entities that expire in one transaction. */
const AT_ONCE = 10_000;

/** Tells of each branch once, and gives up what has expired. Answers how many that were. */
export async function sweepOverdue(
  db: Db,
  config: Pick<HoldfastConfig, "inventory">,
): Promise<number> {
  let expired = 0;
  for (const place of await openPlaces(db, config)) {
    // What is left is told of by the next look, when what has expired is no part of it.
    if (place.expires) expired += await expireOpen(db, place);
    else if (place.isOverdue && !place.isTold) await db.transaction((tx) => escalate(tx, place));
    else if (!place.isOverdue && place.isTold) await forget(db, place);
  }
  return expired;
}

/** Every branch in which something waits, by index, however much does. */
async function openPlaces(
  db: Queryable,
  config: Pick<HoldfastConfig, "inventory">,
): Promise<Waiting[]> {
  const { escalateSeconds, expireSeconds } = defaultSettings(config);
  const open = "state = 2 and approved_hash is null and operation is null and branch is not null";
  const next = (after: string) => `
    select tenant, branch, planned_at from holdfast.entities
     where ${open} ${after} order by tenant, branch, planned_at limit 1`;
  const isOver = (seconds: string) =>
    `coalesce(${seconds} > 0 and p.planned_at <= clock_timestamp() - ${seconds} * interval '1 second', false)`;
  const { rows } = await db.query<Waiting>(
    `with recursive places as (
       (${next("")})
       union all
       select n.* from places p
        cross join lateral (${next("and (tenant, branch) > (p.tenant, p.branch)")}) n
     )
     select p.tenant, p.branch, ${isOver("of.expire")} as expires,
            ${isOver("of.escalate")} as "isOverdue", g.escalated_at is not null as "isTold",
            of.expire as "expireSeconds"
       from places p
       left join holdfast.inventory_settings s on s.tenant = p.tenant
       left join holdfast.inventory_guards g on g.tenant = p.tenant and g.branch = p.branch
      cross join lateral (select coalesce(s.escalate_seconds, $1::int) as escalate,
                                 coalesce(s.expire_seconds, $2::int) as expire) of`,
    [escalateSeconds ?? 0, expireSeconds ?? 0],
  );
  return rows;
}

async function expireOpen(db: Db, place: Waiting): Promise<number> {
  let expired = 0;
  for (let page = AT_ONCE; page === AT_ONCE; expired += page) {
    page = await db.transaction((tx) => expirePage(tx, place));
  }
  return expired;
}

async function expirePage(tx: Tx, { tenant, branch, expireSeconds }: Waiting): Promise<number> {
  const { rowCount } = await tx.query(
    `update holdfast.entities
        set state = 4, settled_at = clock_timestamp(),
            error = jsonb_build_object('fault', 'expired', 'title', error ->> 'title',
              'message', 'nobody decided in time: it is planned again when it is sent again, or requeued')
      where id = any (array(
        select id from holdfast.entities
         where tenant = $1 and branch = $2 and state = 2 and approved_hash is null
           and operation is null
           and planned_at <= clock_timestamp() - $3::int * interval '1 second'
         order by planned_at limit ${AT_ONCE}))
        and state = 2 and approved_hash is null`,
    [tenant, branch, expireSeconds],
  );
  const expired = rowCount ?? 0;
  if (expired > 0) {
    await insertEvents(tx, [{ type: "inventory.expired", tenant, body: { branch, expired } }]);
  }
  return expired;
}

async function escalate(tx: Tx, { tenant, branch }: InventoryPlace): Promise<void> {
  const { rowCount } = await tx.query(
    `insert into holdfast.inventory_guards as g (tenant, branch, objects, window_at, escalated_at)
     values ($1, $2, 0, '-infinity', clock_timestamp())
     on conflict (tenant, branch) do update set escalated_at = clock_timestamp()
      where g.escalated_at is null`,
    [tenant, branch],
  );
  if (rowCount === 0) return;
  await insertEvents(tx, [{ type: "inventory.overdue", tenant, body: { branch } }]);
}

async function forget(db: Queryable, { tenant, branch }: InventoryPlace): Promise<void> {
  await db.query(
    "update holdfast.inventory_guards set escalated_at = null where tenant = $1 and branch = $2",
    [tenant, branch],
  );
}
