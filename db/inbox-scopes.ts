import type { SnapshotAnswer } from "../contracts/inbox.ts";
import { InvalidInput } from "../contracts/errors.ts";
import { ENTITY_STATES } from "../contracts/inventory.ts";
import type { InboxEntry } from "../domain/inbox-entry.ts";
import { column } from "./columns.ts";
import { undoRemovals } from "./inbox-entities.ts";
import type { Tx } from "./pool.ts";

/**
 * What snapshots have named, scope by scope. What the newest one does not name is missing from then on;
 * upkeep plans its removal when the grace period is over. The inbox lock of the branch keeps snapshots
 * of one scope apart.
 */

export interface Snapshot {
  scope: string;
  /** How long something is missing before its removal is planned. Default: as before, first 86,400. */
  graceSeconds?: number | undefined;
  /** A snapshot that names nothing says that nothing is left. */
  allowEmpty?: boolean | undefined;
}

const DEFAULT_GRACE_SECONDS = 86_400;

export interface Scope {
  tenant: string;
  branch: string;
  scope: string;
  request: string;
  graceSeconds: number | null;
  allowEmpty: boolean;
}

/** @throws InvalidInput when the branch is not known */
export async function beginScope(
  tx: Tx,
  at: { tenant: string; branch: string | null; request: string },
  { scope, graceSeconds, allowEmpty = false }: Snapshot,
): Promise<Scope> {
  const { tenant, branch, request } = at;
  if (branch === null) {
    const message = `is not known yet for tenant ${tenant}, and a snapshot is of one branch: name it`;
    throw new InvalidInput([{ path: "branch", message }]);
  }
  await tx.query("update holdfast.ingest_requests set scope = $2, branch = $3 where id = $1", [
    request,
    scope,
    branch,
  ]);
  return { tenant, branch, scope, request, graceSeconds: graceSeconds ?? null, allowEmpty };
}

/** Notes who is there. What is nested counts for those that are members already. */
export async function seeMembers(
  tx: Tx,
  scope: Scope,
  entries: readonly InboxEntry[],
  named: readonly string[],
): Promise<void> {
  const members = new Map<string, string>();
  const nested = new Set<string>();
  for (const [at, entry] of entries.entries()) {
    members.set(entry.identity, named[at]!);
    for (const identity of entry.nested ?? []) nested.add(identity);
  }
  await upsertMembers(tx, scope, members);
  for (const identity of members.keys()) nested.delete(identity);
  if (nested.size > 0) await seeNested(tx, scope, [...nested]);
}

async function upsertMembers(
  tx: Tx,
  { tenant, branch, scope, request }: Scope,
  members: ReadonlyMap<string, string>,
): Promise<void> {
  await tx.query(
    `insert into holdfast.scope_members (tenant, branch, scope, identity, entity, request)
     select $1, $2, $3, decode(m.identity, 'hex'), m.entity::bigint, $4
       from rows from (string_to_table($5, e'\\n'), string_to_table($6, e'\\n'))
         as m(identity, entity)
     on conflict (tenant, branch, scope, identity) do update
        set entity = excluded.entity, request = excluded.request, missing_since = null, removal = null`,
    [tenant, branch, scope, request, column([...members.keys()]), column([...members.values()])],
  );
}

async function seeNested(tx: Tx, scope: Scope, identities: readonly string[]): Promise<void> {
  const { tenant, branch, scope: name, request } = scope;
  const removals = await removalsOf(tx, scope, identities);
  if (removals.length > 0) await undoRemovals(tx, removals);
  await tx.query(
    `update holdfast.scope_members m
        set request = $4, missing_since = null, removal = null
       from string_to_table($5, e'\\n') as w(identity)
      where m.tenant = $1 and m.branch = $2 and m.scope = $3 and m.identity = decode(w.identity, 'hex')
        and m.request <> $4`,
    [tenant, branch, name, request, column(identities)],
  );
}

/** No others are made while the inbox is owned. */
async function removalsOf(
  tx: Tx,
  { tenant, branch, scope, request }: Scope,
  identities: readonly string[],
): Promise<string[]> {
  const { rows } = await tx.query<{ removal: string }>(
    `select distinct m.removal
       from string_to_table($5, e'\\n') as w(identity)
       join holdfast.scope_members m
         on m.tenant = $1 and m.branch = $2 and m.scope = $3
        and m.identity = decode(w.identity, 'hex')
      where m.request <> $4 and m.removal is not null`,
    [tenant, branch, scope, request, column(identities)],
  );
  return rows.map(({ removal }) => removal);
}

/**
 * What the snapshot has not named is missing since now, unless a part of it could not be read, which
 * might have named it. A snapshot of nothing is refused, because it is nearly always a broken source.
 * @throws InvalidInput
 */
export async function endScope(
  tx: Tx,
  given: Scope,
  { whole }: { whole: boolean },
): Promise<SnapshotAnswer> {
  const { tenant, branch, scope, request, graceSeconds, allowEmpty } = given;
  const members = await countMembers(tx, given);
  if (members === 0 && whole && !allowEmpty) {
    const message = `the snapshot of ${scope} names nothing, so everything in it would go: allow it to be empty if that is meant`;
    throw new InvalidInput([{ path: "entities", message }]);
  }
  const missing = whole ? await markMissing(tx, given) : null;
  if (whole) await forgetEndedRemovals(tx, given);
  const { rows } = await tx.query<{ grace: number }>(
    `insert into holdfast.inventory_scopes as s
       (tenant, branch, scope, request, members, grace_seconds)
     values ($1, $2, $3, $4, $5, coalesce($6::int, ${DEFAULT_GRACE_SECONDS}))
     on conflict (tenant, branch, scope) do update
        set request = excluded.request, members = excluded.members, at = clock_timestamp(),
            grace_seconds = coalesce($6::int, s.grace_seconds)
     returning grace_seconds as grace`,
    [tenant, branch, scope, request, members, graceSeconds],
  );
  return { scope, branch, members, missing, graceSeconds: rows[0]!.grace };
}

async function countMembers(tx: Tx, { tenant, branch, scope, request }: Scope): Promise<number> {
  const { rows } = await tx.query<{ n: number }>(
    `select count(*)::int as n from holdfast.scope_members
      where tenant = $1 and branch = $2 and scope = $3 and request = $4`,
    [tenant, branch, scope, request],
  );
  return rows[0]!.n;
}

async function markMissing(tx: Tx, { tenant, branch, scope, request }: Scope): Promise<number> {
  const { rowCount } = await tx.query(
    `update holdfast.scope_members set missing_since = clock_timestamp()
      where tenant = $1 and branch = $2 and scope = $3 and request <> $4 and missing_since is null`,
    [tenant, branch, scope, request],
  );
  return rowCount ?? 0;
}

const ENDED = [ENTITY_STATES.failed, ENTITY_STATES.errored, ENTITY_STATES.superseded];

/** What is missing still, and was not removed by a removal that came to nothing, has another one made. */
async function forgetEndedRemovals(
  tx: Tx,
  { tenant, branch, scope, request }: Scope,
): Promise<void> {
  await tx.query(
    `update holdfast.scope_members m set removal = null
      where tenant = $1 and branch = $2 and scope = $3 and request <> $4 and removal is not null
        and not exists (select from holdfast.entities e
                         where e.id = m.removal and e.state not in (${ENDED.join(", ")}))`,
    [tenant, branch, scope, request],
  );
}
