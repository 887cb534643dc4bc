import { ENTITY_STATES, type EntityState } from "../contracts/inventory.ts";
import { statesBefore } from "../domain/inventory-state.ts";
import { insertAudit } from "./audit.ts";
import type { Queryable, Tx } from "./pool.ts";
import { findingOf } from "./review-find.ts";

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
 * Looks at the next `limit` entities after `after` and requeues those that it is about, with one entry in the audit. One that has a newer
 * version stays as it is, because an older one is never applied after a newer; items of an operation are
 * requeued by running it again.
 */
export async function requeue(
  tx: Tx,
  target: RequeueTarget,
  by: string,
  page: { after?: string | undefined; limit: number },
): Promise<RequeuedPage> {
  const { tenant, ids, state, type } = target;
  // What is named is looked at whatever its place.
  const bounds = ids ? {} : { after: page.after, upTo: target.upTo };
  const sieve = { ...target, upTo: bounds.upTo, states: state ? [state] : statesBefore("requeue") };
  const how = { after: bounds.after, limit: page.limit, newest: false, short: true };
  const finding = findingOf(type === undefined ? sieve : { ...sieve, types: [type] }, how);
  const { values, window } = finding;
  const wanted = ids && `$${values.push(ids)}::bigint[]`;
  const lookedAt = wanted
    ? `select id from unnest(${wanted}) as id where id > $${values.push(page.after ?? "0")}::bigint
        order by id limit ${window}`
    : finding.lookedAt;
  const { rows } = await tx.query<{ found: number; edge: string | null; requeued: number }>(
    `with looked_at as materialized (${lookedAt}), found as (
       select e.id, e.tenant, e.branch, e.identity
         from holdfast.entities e
        where e.id = any (array(select id from looked_at)) and ${finding.passes}
          and e.operation is null
        order by e.id
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
       returning 1
     )
     select (select count(*) from found)::int as found,
            case when (select count(*) from looked_at) >= ${window}
                 then (select max(id) from looked_at) end as edge,
            (select count(*) from changed)::int as requeued`,
    values,
  );
  const { found, edge, requeued } = rows[0]!;
  if (requeued > 0) {
    const { tenant: _, upTo: _to, ...asked } = target;
    const after = { asked, requeued, passedOver: found - requeued, after: page.after };
    await insertAudit(tx, {
      actor: by,
      action: "inbox.requeue",
      tenant,
      subject: `inbox/${tenant}`,
      after,
    });
  }
  const counts = { requeued, passedOver: found - requeued };
  return edge === null ? counts : { ...counts, next: edge };
}
