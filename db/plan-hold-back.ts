import { ENTITY_STATES } from "../contracts/inventory.ts";
import { column } from "./columns.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import type { Tx } from "./pool.ts";

/**
 * No version is applied before an older one that waits for what it refers to. That is written down: it
 * waits as long and for the same, so that what is queued is what can be worked.
 */

interface Version {
  id: string;
  identity: string;
}

/**
 * Of these, locked by the caller, those before which an older version waits that is not among them. They
 * are due when that one is, and after it; an approval stands, and a claim on them is over. Answers their ids.
 */
export async function holdBack(
  tx: Tx,
  place: InventoryPlace,
  versions: readonly Version[],
): Promise<ReadonlySet<string>> {
  if (versions.length === 0) return new Set();
  const { rows } = await tx.query<{ id: string }>(
    `with behind as materialized (
       select v.id::bigint, o.id as older, o.due_at, o.waits_for
         from rows from (string_to_table($3, e'\\n'), string_to_table($4, e'\\n')) as v(id, identity)
        cross join lateral (
          select id, due_at, waits_for from holdfast.entities
           where state = ${ENTITY_STATES.pending_retry} and operation is null and tenant = $1
             and (branch, identity, id) > ($2, decode(v.identity, 'hex'), 0)
             and (branch, identity, id) < ($2, decode(v.identity, 'hex'), v.id::bigint)
             and id <> all ($5::bigint[])
           order by tenant, branch, identity, id limit 1) o
     )
     update holdfast.entities e
        set state = ${ENTITY_STATES.pending_retry}, due_at = b.due_at, waits_for = b.waits_for,
            token = null, lease_until = null,
            error = jsonb_strip_nulls(jsonb_build_object('fault', 'behind-older',
              'message', 'waits behind version ' || b.older || ', which waits for what it refers to',
              'title', e.error ->> 'title'))
       from behind b where e.id = b.id
     returning e.id`,
    [
      place.tenant,
      place.branch,
      column(versions.map(({ id }) => id)),
      column(versions.map(({ identity }) => identity)),
      versions.map(({ id }) => id),
    ],
  );
  return new Set(rows.map(({ id }) => id));
}

/** Those that wait behind one of these, which wait no longer, are due. What somebody looks at is left to them. */
export async function letGo(tx: Tx, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await tx.query(
    `update holdfast.entities e set due_at = clock_timestamp()
       from (select w.id
               from holdfast.entities v
               join holdfast.entities w on w.tenant = v.tenant and w.branch = v.branch
                    and w.identity = v.identity and w.operation is null and w.id > v.id
              where v.id = any ($1::bigint[]) and v.operation is null
                and w.state = ${ENTITY_STATES.pending_retry} and w.due_at > clock_timestamp()
              order by w.id for update of w skip locked) behind
      where e.id = behind.id`,
    [ids],
  );
}
