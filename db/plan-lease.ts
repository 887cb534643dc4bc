import { ENTITY_STATES, type Fields } from "../contracts/inventory.ts";
import { parseExactJson } from "../domain/exact-json.ts";
import { nameOf } from "./entity-states.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import { ownTargetClaims } from "./locks.ts";
import type { ClaimedEntity } from "./plan-claim.ts";
import type { Db, Queryable, Tx } from "./pool.ts";

/**
 * Claims on entities whose effect leaves Postgres: in the hands of one worker until a time, under a
 * token. Whoever writes what came of them names the token, so one that was thought dead and comes back
 * writes nothing. What its worker leaves behind is due again when the time is over.
 */

export interface LeasedEntity extends ClaimedEntity {
  removal: boolean;
  /** An attempt whose end was never written: it may have happened. */
  open: OpenAttempt | undefined;
}

export interface OpenAttempt {
  /** Undefined: planned and applied in one call. */
  changeSet: string | undefined;
  hash: string | undefined;
  key: string;
  rule: string | undefined;
}

export interface TargetLane {
  target: string;
  lane: number;
  lanes: number;
}

export interface ClaimOptions {
  limit: number;
  leaseSeconds: number;
  /** Tokens of claims of this process that have ended and could not be given back. */
  adopt?: readonly string[];
}

export interface Leased {
  token: string;
  /** In order of acceptance. */
  entities: LeasedEntity[];
}

/** Somebody else has claimed these since. Nothing was written. */
export class LeaseLost extends Error {
  override readonly name = "LeaseLost";
  constructor(lost: number, of: number) {
    super(`${lost} of ${of} entities are claimed by another worker`);
  }
}

const { queued, open, applying, pending_retry, planning } = ENTITY_STATES;

/** SQL: `e` is claimed, and its time is over. */
const isAbandoned = (e: string) =>
  `${e}.lease_until is not null and ${e}.lease_until <= clock_timestamp()`;

/** SQL: `e` is due, each kind found by an index of its own. */
const dueKinds = [
  `state = ${queued} and operation is null`,
  `state = ${pending_retry} and operation is null and due_at <= clock_timestamp()`,
  `state = ${open} and approved_hash is not null and operation is null`,
  `lease_until is not null and lease_until <= clock_timestamp() and operation is null`,
];

/** SQL: the branch of `e` waits until somebody has looked. */
const isHeld = (e: string) => `exists (
  select from holdfast.inventory_guards g
   where g.tenant = ${e}.tenant and g.branch = ${e}.branch and g.held_at is not null)`;

/** SQL: a drain `d` of a target has something that is due. The one predicate for relay and drain. */
export const targetDrainIsDue = (d: string) => `exists (
  select from holdfast.inventory_settings s
   where ${d}.queue = 'target-' || s.target
     and (${dueKinds
       .map(
         (kind) =>
           `exists (select from holdfast.entities e where e.tenant = s.tenant and e.branch is not null and ${kind} and not ${isHeld("e")})`,
       )
       .join("\n          or ")}))
   and not exists (select from holdfast.targets t
                    where ${d}.queue = 'target-' || t.name and t.retry_at > clock_timestamp())`;

/**
 * Takes the oldest that are due in one lane of a branch, and none that an older version waits before, or
 * of which another version is in somebody's hands. Undefined when there is nothing. Claims of one target
 * take turns; they are short.
 */
export async function leaseEntities(
  db: Db,
  place: InventoryPlace,
  { target, lane, lanes }: TargetLane,
  { limit, leaseSeconds, adopt = [] }: ClaimOptions,
): Promise<Leased | undefined> {
  return db.transaction(async (tx) => {
    await ownTargetClaims(tx, target);
    const candidates = dueKinds
      .map(
        (kind) =>
          `(select id from holdfast.entities e
             where tenant = $1 and branch = $2 and ${kind} and get_byte(identity, 0) % $4 = $3
             order by id limit $5)`,
      )
      .join(" union ");
    const { rows } = await tx.query<LeasedRow>(
      `with due as materialized (
         ${candidates}
         union (select id from holdfast.entities
                 where tenant = $1 and branch = $2 and token = any ($6::bigint[])
                   and lease_until is not null and operation is null
                   and get_byte(identity, 0) % $4 = $3)
       ), picked as (
         select e.id
           from due join holdfast.entities e on e.id = due.id
          where not exists (
            select from holdfast.entities w
             where w.tenant = $1 and w.branch = $2 and w.identity = e.identity and w.id <> e.id
               and w.operation is null
               and (w.state in (${planning}, ${applying}) and not (${isAbandoned("w")})
                      and w.token <> all ($6::bigint[])
                    or w.id < e.id and w.state = ${pending_retry} and w.due_at > clock_timestamp()))
          order by e.id limit $5
       ), leased as (
         update holdfast.entities e
            set state = case when e.approved_hash is null then ${planning} else ${applying} end,
                token = t.token, due_at = null,
                lease_until = clock_timestamp() + $7::float8 * interval '1 second'
           from picked, (select nextval('holdfast.entity_tokens') as token) t
          where e.id = picked.id
         returning e.*
       )
       select e.id, encode(e.identity, 'hex') as identity, e.type, e.fields::text as fields,
              e.warnings, e.state, e.attempt, e.plans, e.removal, e.token,
              encode(e.approved_hash, 'hex') as approved, e.rule,
              a.key as open_key, a.change_set as open_set, encode(c.hash, 'hex') as open_hash
         from leased e
         left join lateral (
           select key, change_set from holdfast.apply_attempts
            where entity = e.id and ended_at is null order by token desc limit 1) a on true
         left join holdfast.change_sets c on c.id = a.change_set
        order by e.id`,
      [place.tenant, place.branch, lane, lanes, limit, adopt, leaseSeconds],
    );
    if (rows.length === 0) return undefined;
    return { token: rows[0]!.token, entities: rows.map(leasedOf) };
  });
}

interface LeasedRow {
  id: string;
  identity: string;
  type: string;
  fields: string;
  warnings: string[] | null;
  state: number;
  attempt: number;
  plans: number;
  removal: boolean;
  token: string;
  approved: string | null;
  rule: string | null;
  open_key: string | null;
  open_set: string | null;
  open_hash: string | null;
}

function leasedOf(row: LeasedRow): LeasedEntity {
  const { open_key: key, open_set: set, open_hash: hash, rule } = row;
  return {
    id: row.id,
    identity: row.identity,
    type: row.type,
    fields: parseExactJson(row.fields) as Fields,
    warnings: row.warnings ?? [],
    state: nameOf(row.state),
    attempt: row.attempt,
    plans: row.plans,
    removal: row.removal,
    approved: row.approved ?? undefined,
    open:
      key === null
        ? undefined
        : { key, changeSet: set ?? undefined, hash: hash ?? undefined, rule: rule ?? undefined },
  };
}

/** Puts the end of a claim off. Answers how many entities it still holds. */
export async function extendLease(
  db: Queryable,
  token: string,
  ids: readonly string[],
  leaseSeconds: number,
): Promise<number> {
  const { rowCount } = await db.query(
    `update holdfast.entities
        set lease_until = clock_timestamp() + $3::float8 * interval '1 second'
      where id = any ($2::bigint[]) and token = $1 and lease_until is not null`,
    [token, ids, leaseSeconds],
  );
  return rowCount ?? 0;
}

/** Ends the claim on these, in the transaction that writes what came of them. @throws LeaseLost */
export async function endLease(tx: Tx, token: string, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  const { rowCount } = await tx.query(
    `update holdfast.entities e set token = null, lease_until = null
       from (select id from holdfast.entities where id = any ($2::bigint[]) order by id for update) own
      where e.id = own.id and e.token = $1`,
    [token, ids],
  );
  if (rowCount !== ids.length) throw new LeaseLost(ids.length - (rowCount ?? 0), ids.length);
}

/** Gives these back as they were: due at once, nothing charged. Those that were lost stay lost. */
export async function releaseLease(
  db: Queryable,
  token: string,
  ids?: readonly string[],
): Promise<number> {
  const { rowCount } = await db.query(
    `update holdfast.entities
        set state = ${queued}, token = null, lease_until = null, waits_for = null
      where token = $1 and state in (${planning}, ${applying})
        and ($2::bigint[] is null or id = any ($2))`,
    [token, ids ?? null],
  );
  return rowCount ?? 0;
}

export interface Applying {
  id: string;
  planHash: string | undefined;
  rule: string | undefined;
}

/** Notes that these are about to be applied, under their claim. @throws LeaseLost */
export async function markApplying(
  tx: Tx,
  token: string,
  those: readonly Applying[],
  leaseSeconds: number,
): Promise<void> {
  if (those.length === 0) return;
  const { rowCount } = await tx.query(
    `update holdfast.entities e
        set state = ${applying}, rule = a.rule,
            plan_hash = coalesce(decode(a.hash, 'hex'), e.plan_hash),
            plans = e.plans + (a.hash is not null)::int,
            planned_at = case when a.hash is null then e.planned_at else clock_timestamp() end,
            lease_until = clock_timestamp() + $5::float8 * interval '1 second'
       from unnest($2::bigint[], $3::text[], $4::text[]) as a(id, hash, rule)
      where e.id = a.id and e.token = $1`,
    [
      token,
      those.map(({ id }) => id),
      those.map(({ planHash }) => planHash ?? null),
      those.map(({ rule }) => rule ?? null),
      leaseSeconds,
    ],
  );
  if (rowCount !== those.length) throw new LeaseLost(those.length - (rowCount ?? 0), those.length);
}

/** The branch of a target's tenants to serve next in a lane: round-robin, after the one served last. */
export async function nextTargetPlace(
  db: Queryable,
  { target, lane, lanes }: TargetLane,
  after: InventoryPlace = { tenant: "", branch: "" },
): Promise<InventoryPlace | undefined> {
  const first = await placeAfter(db, { target, lane, lanes }, after);
  if (first || (after.tenant === "" && after.branch === "")) return first;
  return placeAfter(db, { target, lane, lanes }, { tenant: "", branch: "" });
}

// Tenants by their settings, then branches of each by what is due, kind by kind.
async function placeAfter(
  db: Queryable,
  { target, lane, lanes }: TargetLane,
  { tenant, branch }: InventoryPlace,
): Promise<InventoryPlace | undefined> {
  const firsts = dueKinds
    .map(
      (kind) =>
        `(select branch from holdfast.entities e
           where e.tenant = s.tenant and e.branch is not null and ${kind}
             and get_byte(e.identity, 0) % $3 = $2
             and (e.tenant > $4 or e.branch > $5)
             and not ${isHeld("e")}
           order by branch limit 1)`,
    )
    .join(" union all ");
  const { rows } = await db.query<InventoryPlace>(
    `select s.tenant, d.branch
       from holdfast.inventory_settings s
      cross join lateral (select min(branch) as branch from (${firsts}) f) d
      where s.target = $1 and s.tenant >= $4 and d.branch is not null
        and not exists (select from holdfast.brakes b
                         where b.applies_to = 'all'
                            or b.applies_to = 'target' and b.name = $1
                            or b.applies_to = 'tenant' and b.name = s.tenant)
      order by s.tenant limit 1`,
    [target, lane, lanes, tenant, branch],
  );
  return rows[0];
}

/** What was approved stays approved, though it has to be tried again. */
export async function keepApproved(
  tx: Tx,
  those: readonly { id: string; approved: string }[],
): Promise<void> {
  if (those.length === 0) return;
  await tx.query(
    `update holdfast.entities e set approved_hash = decode(a.hash, 'hex')
       from unnest($1::bigint[], $2::text[]) as a(id, hash)
      where e.id = a.id and e.state = ${pending_retry}`,
    [those.map(({ id }) => id), those.map(({ approved }) => approved)],
  );
}
