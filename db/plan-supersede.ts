import type { Fields } from "../contracts/inventory.ts";
import { parseExactJson } from "../domain/exact-json.ts";
import { isSaidBy } from "../domain/plan-newer.ts";
import type { Registry } from "../domain/registry.ts";
import { column } from "./columns.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import type { ClaimedEntity } from "./plan-claim.ts";
import { settleEntities } from "./plan-settle.ts";
import type { Queryable, Tx } from "./pool.ts";

/** Versions that end without being applied, because a newer one that has been says all that they say. */

/** Of those that come again. Answers the ids that have ended. */
export async function supersedeOvertaken(
  tx: Tx,
  registry: Registry,
  claimed: readonly ClaimedEntity[],
  overtaken: ReadonlyMap<string, string>,
): Promise<ReadonlySet<string>> {
  const ended = new Set<string>();
  const open = claimed.filter(({ id, approved }) => approved === undefined && overtaken.has(id));
  if (open.length === 0) return ended;
  const newer = await sayingsOf(tx, [...new Set(overtaken.values())]);
  for (const entity of open) {
    const by = newer.get(overtaken.get(entity.id)!);
    if (by && isSaidBy(registry, entity, by)) ended.add(entity.id);
  }
  await settleEntities(
    tx,
    open.flatMap(({ id, attempt }) =>
      ended.has(id) ? [{ id, state: "superseded" as const, attempt }] : [],
    ),
  );
  return ended;
}

interface Saying {
  type: string;
  fields: Fields;
}

async function sayingsOf(db: Queryable, ids: readonly string[]): Promise<Map<string, Saying>> {
  const { rows } = await db.query<{ id: string; type: string; fields: string }>(
    "select id, type, fields::text as fields from holdfast.entities where id = any ($1::bigint[])",
    [ids],
  );
  return new Map(
    rows.map(({ id, type, fields }) => [id, { type, fields: parseExactJson(fields) as Fields }]),
  );
}

/**
 * Of those that wait for a decision, where one of these newer ones is in the inventory now. What wants
 * to remove an object ends as soon as anything newer is said of it.
 */
export async function supersedeOlder(
  tx: Tx,
  place: InventoryPlace,
  registry: Registry,
  applied: readonly ClaimedEntity[],
): Promise<number> {
  if (applied.length === 0 || !(await hasOpen(tx, place))) return 0;
  const byIdentity = new Map(applied.map((entity) => [entity.identity, entity]));
  const { rows } = await tx.query<{
    id: string;
    identity: string;
    type: string;
    fields: string;
    attempt: number;
  }>(
    `select e.id, encode(e.identity, 'hex') as identity, e.type, e.fields::text as fields, e.attempt
       from holdfast.entities e
      where e.state = 2 and e.approved_hash is null and e.id = any (array(
        select o.id
          from rows from (string_to_table($3, e'\\n'), string_to_table($4, e'\\n')) as w(identity, id)
         cross join lateral (
           select id from holdfast.entities
            where tenant = $1 and branch = $2 and identity = decode(w.identity, 'hex')
              and state = 2 and operation is null and approved_hash is null and not removal
              and id < w.id::bigint) o))
      order by e.id
        for update`,
    [
      place.tenant,
      place.branch,
      column([...byIdentity.keys()]),
      column([...byIdentity.values()].map(({ id }) => id)),
    ],
  );
  const ended = rows.filter(({ identity, type, fields }) =>
    isSaidBy(
      registry,
      { type, fields: parseExactJson(fields) as Fields },
      byIdentity.get(identity)!,
    ),
  );
  await settleEntities(
    tx,
    ended.map(({ id, attempt }) => ({ id, state: "superseded", attempt })),
  );
  return ended.length;
}

async function hasOpen(tx: Tx, place: InventoryPlace): Promise<boolean> {
  const { rows } = await tx.query<{ some: boolean }>(
    `select exists (select from holdfast.entities
              where tenant = $1 and branch = $2 and state = 2 and operation is null
                and approved_hash is null) as some`,
    [place.tenant, place.branch],
  );
  return rows[0]!.some;
}
