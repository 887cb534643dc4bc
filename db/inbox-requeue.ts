import { ENTITY_STATES, type EntityState } from "../contracts/inventory.ts";
import { statesBefore } from "../domain/inventory-state.ts";
import { insertAudit } from "./audit.ts";
import type { Queryable, Tx } from "./pool.ts";

/** What ended without being applied is planned again, in its place in the order of acceptance. */

export interface RequeueTarget {
  tenant: string;
  ids?: readonly string[] | undefined;
  branch?: string | undefined;
  state?: EntityState | undefined;
  type?: string | undefined;
  request?: string | undefined;
  /** Only what was taken in up to here. */
  upTo?: string | undefined;
}

export interface RequeuedPage {
  requeued: number;
  passedOver: number;
  /** Id of the last one looked at; absent when there are no more. */
  next?: string;
}

/** Id of what was taken in last. */
export async function newestEntity(db: Queryable): Promise<string> {
  const { rows } = await db.query<{ id: string }>(
    "select coalesce(max(id), 0) as id from holdfast.entities",
  );
  return rows[0]!.id;
}

/**
 * Requeues the next `limit` entities after `after`, with one entry in the audit. One that has a newer
 * version stays as it is, because an older one is never applied after a newer; items of an operation are
 * requeued by running it again.
 */
export async function requeue(
  tx: Tx,
  target: RequeueTarget,
  by: string,
  page: { after?: string | undefined; limit: number },
): Promise<RequeuedPage> {
  const from = target.state ? [target.state] : statesBefore("requeue");
  const { rows } = await tx.query<{ found: number; last: string | null; requeued: number }>(
    `with found as (
       select e.id, e.tenant, e.branch, e.identity
         from holdfast.entities e
        where e.tenant = $1 and ($2::text is null or e.branch = $2) and e.id > $3
          and e.branch is not null and e.operation is null and e.state = any ($4::smallint[])
          and ($5::bigint[] is null or e.id = any ($5)) and ($6::text is null or e.type = $6)
          and ($7::uuid is null or e.request = $7) and ($8::bigint is null or e.id <= $8)
        order by e.id limit $9
          for update
     ), changed as (
       update holdfast.entities e
          set state = ${ENTITY_STATES.queued}, settled_at = null, error = null, attempt = 0,
              waits_for = null, due_at = null, approved_hash = null,
              origin = case when e.state = ${ENTITY_STATES.pending_retry} then e.origin else e.state end
         from found f
        where e.id = f.id
          and not exists (select from holdfast.entities w
                           where w.tenant = f.tenant and w.branch = f.branch
                             and w.identity = f.identity and w.operation is null and w.id > f.id)
       returning e.id
     )
     select (select count(*) from found)::int as found, (select max(id) from found) as last,
            (select count(*) from changed)::int as requeued`,
    [
      target.tenant,
      target.branch ?? null,
      page.after ?? "0",
      from.map((state) => ENTITY_STATES[state]),
      target.ids ?? null,
      target.type ?? null,
      target.request ?? null,
      target.upTo ?? null,
      page.limit,
    ],
  );
  const { found, last, requeued } = rows[0]!;
  if (requeued > 0) {
    const { tenant, upTo: _, ...asked } = target;
    const after = { asked, requeued, passedOver: found - requeued, last };
    await insertAudit(tx, {
      actor: by,
      action: "inbox.requeue",
      tenant,
      subject: `inbox/${tenant}`,
      after,
    });
  }
  const counts = { requeued, passedOver: found - requeued };
  return found === page.limit ? { ...counts, next: last! } : counts;
}
