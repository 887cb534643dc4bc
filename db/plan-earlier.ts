import type { ChangeSet } from "../contracts/inventory.ts";
import type { Tx } from "./pool.ts";
import { column } from "./columns.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import type { ClaimedEntity } from "./plan-claim.ts";

/** What people have decided about other versions, and what newer ones have done already. */

interface EarlierDecision {
  decision: "apply" | "ignore";
  /** Who. */
  by: string;
}

export interface EarlierDecisions {
  /** What was decided of the same plan of an older version, and holds; undefined when nothing was. */
  of(entity: ClaimedEntity, changeSet: ChangeSet): EarlierDecision | undefined;
}

interface DecidedRow {
  identity: string;
  id: string;
  /** null: it stands no longer, or has not come to anything yet. */
  decision: EarlierDecision["decision"] | null;
  by: string;
  plan: string | null;
}

const NONE: EarlierDecisions = { of: () => undefined };

/** Decisions of one identity that are looked at. */
const MOST = 20;

/**
 * Decisions carry over to identical plans of newer versions, unless somebody has decided about the newer
 * one itself: reopened is looked at again, whatever was said before. An approval only while it is the
 * newest decision of its identity, and never one to delete; a rejection until something of it is
 * decided otherwise.
 */
export async function earlierDecisions(
  tx: Tx,
  place: InventoryPlace,
  claimed: readonly ClaimedEntity[],
): Promise<EarlierDecisions> {
  const open = claimed.filter(({ decided }) => !decided);
  if (open.length === 0 || !(await hasDecided(tx, place))) return NONE;
  const { rows } = await tx.query<DecidedRow>(
    `select w.identity, d.id, d.decision, d.by, encode(d.plan, 'hex') as plan
       from (select distinct identity from string_to_table($3, e'\\n') as identity) w
      cross join lateral (
        select id, case when state = 6 then 'ignore'
                        when state in (3, 5) and approved_hash is not null then 'apply' end as decision,
               decided_by as by, decided_at, coalesce(approved_hash, plan_hash) as plan
          from holdfast.entities
         where tenant = $1 and branch = $2 and identity = decode(w.identity, 'hex')
           and decided_by is not null and operation is null
         order by id desc limit ${MOST}) d
      order by d.decided_at desc, d.id desc`,
    [place.tenant, place.branch, column(open.map(({ identity }) => identity))],
  );
  const known = new Map<string, typeof rows>();
  for (const row of rows) known.set(row.identity, [...(known.get(row.identity) ?? []), row]);
  return {
    of({ id, identity, decided }, { hash, changes }) {
      if (decided) return undefined;
      const made = known.get(identity) ?? [];
      const found = made.find(
        (row) => row.decision === "apply" || (row.decision === "ignore" && row.plan === hash),
      );
      if (!found?.decision || found.plan !== hash || BigInt(found.id) > BigInt(id))
        return undefined;
      const { decision, by } = found;
      const mayApply = found === made[0] && !changes.some(({ kind }) => kind === "delete");
      return decision === "ignore" || mayApply ? { decision, by } : undefined;
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
 * Those of which a newer version has been applied, with the newest such. What is planned for the first
 * time is taken in order, so only what comes again is asked about, and what got its branch late.
 */
export async function overtakenOf(
  tx: Tx,
  place: InventoryPlace,
  claimed: readonly ClaimedEntity[],
): Promise<Map<string, string>> {
  const again = claimed.filter(
    ({ state, plans, attempt, decided, adopted }) =>
      state !== "queued" || plans > 0 || attempt > 0 || decided || adopted,
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
