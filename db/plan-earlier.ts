import type { Tx } from "./pool.ts";
import { column } from "./columns.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import type { ClaimedEntity } from "./plan-claim.ts";

/** What people have decided about other versions, and what newer ones have done already. */

export interface EarlierDecision {
  decision: "apply" | "ignore";
  /** Who. */
  by: string;
}

export interface EarlierDecisions {
  /** The newest decision about the same plan of an older version; undefined when there is none. */
  of(entity: ClaimedEntity, planHash: string): EarlierDecision | undefined;
}

const NONE: EarlierDecisions = { of: () => undefined };

/** Decisions of one identity that are looked at. */
const MOST = 20;

/**
 * Decisions carry over to identical plans of newer versions, unless somebody has decided about the newer
 * one itself: reopened is looked at again, whatever was said before.
 */
export async function earlierDecisions(
  tx: Tx,
  place: InventoryPlace,
  claimed: readonly ClaimedEntity[],
): Promise<EarlierDecisions> {
  const open = claimed.filter(({ decided }) => !decided);
  if (open.length === 0 || !(await hasDecided(tx, place))) return NONE;
  const { rows } = await tx.query<{ identity: string; id: string; plan: string } & EarlierDecision>(
    `select w.identity, d.id, d.decision, d.by, encode(d.plan, 'hex') as plan
       from (select distinct identity from string_to_table($3, e'\\n') as identity) w
      cross join lateral (
        select id, case when state = 6 then 'ignore' else 'apply' end as decision,
               decided_by as by, coalesce(approved_hash, plan_hash) as plan
          from holdfast.entities
         where tenant = $1 and branch = $2 and identity = decode(w.identity, 'hex')
           and decided_by is not null and operation is null
           and (state = 6 or state in (3, 5) and approved_hash is not null)
         order by id desc limit ${MOST}) d
      where d.plan is not null`,
    [place.tenant, place.branch, column(open.map(({ identity }) => identity))],
  );
  const known = new Map<string, typeof rows>();
  for (const row of rows) known.set(row.identity, [...(known.get(row.identity) ?? []), row]);
  return {
    of({ id, identity, decided }, planHash) {
      if (decided) return undefined;
      return known
        .get(identity)
        ?.find((row) => row.plan === planHash && BigInt(row.id) < BigInt(id));
    },
  };
}

async function hasDecided(tx: Tx, place: InventoryPlace): Promise<boolean> {
  const { rows } = await tx.query<{ some: boolean }>(
    `select exists (select from holdfast.entities
              where tenant = $1 and branch = $2 and decided_by is not null
                and operation is null) as some`,
    [place.tenant, place.branch],
  );
  return rows[0]!.some;
}

/**
 * Those of which a newer version has been applied, with the newest such. What is planned for the first time is taken in order,
 * so only what comes again is asked about.
 */
export async function overtakenOf(
  tx: Tx,
  place: InventoryPlace,
  claimed: readonly ClaimedEntity[],
): Promise<Map<string, string>> {
  const again = claimed.filter(
    ({ state, plans, attempt, decided }) =>
      state !== "queued" || plans > 0 || attempt > 0 || decided,
  );
  if (again.length === 0) return new Map();
  const { rows } = await tx.query<{ id: string; newer: string }>(
    `select w.id, e.id as newer
       from rows from (string_to_table($3, e'\\n'), string_to_table($4, e'\\n')) as w(id, identity)
      cross join lateral (
        select id from holdfast.entities
         where tenant = $1 and branch = $2 and identity = decode(w.identity, 'hex')
           and operation is null and id > w.id::bigint and state in (3, 5) and not removal
         order by id desc limit 1) e`,
    [
      place.tenant,
      place.branch,
      column(again.map(({ id }) => id)),
      column(again.map(({ identity }) => identity)),
    ],
  );
  return new Map(rows.map(({ id, newer }) => [id, newer]));
}
