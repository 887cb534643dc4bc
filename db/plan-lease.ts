import { ENTITY_STATES, type Fields } from "../contracts/inventory.ts";
import { parseExactJson } from "../domain/exact-json.ts";
import { nameOf } from "./entity-states.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import { ownTargetClaims } from "./locks.ts";
import { lockInTurn, type ClaimedEntity } from "./plan-claim.ts";
import { dueIds } from "./plan-due.ts";
import { holdBack } from "./plan-hold-back.ts";
import { claims, isAbandoned, isClaimed, ofLane, type TargetLane } from "./plan-lease-due.ts";
import { hasWaiting } from "./plan-settle.ts";
import type { Db, Tx } from "./pool.ts";

/**
 * Claims on entities whose effect leaves Postgres: in the hands of one worker until a time, under a
 * token. Whoever writes what came of them names the token, so one that was thought dead and comes back
 * writes nothing. What its worker leaves behind is due again when the time is over.
 */

export interface LeasedEntity extends ClaimedEntity {
  removal: boolean;
  /** Somebody has decided about a version of its identity. */
  judged: boolean;
  /** An attempt whose end was never written: it may have happened. */
  open: OpenAttempt | undefined;
}

interface OpenAttempt {
  /** Undefined: planned and applied in one call. */
  changeSet: string | undefined;
  hash: string | undefined;
  key: string;
  rule: string | undefined;
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

const { applying, planning } = ENTITY_STATES;

/** So often in a row may all that is looked at be held back: each time so much less is queued. */
const ROUNDS = 20;

/**
 * Takes the oldest that are due in one lane of a branch, and none that an older version waits before, or
 * of which another version is in somebody's hands. What comes after one that waits is held back, and what
 * is behind it is looked at. Undefined when there is nothing. Claims of one target take turns; they are
 * short.
 */
export async function leaseEntities(
  db: Db,
  place: InventoryPlace,
  lane: TargetLane,
  options: ClaimOptions,
): Promise<Leased | undefined> {
  for (let round = 0; round < ROUNDS; round++) {
    const { leased, heldBack } = await db.transaction(async (tx) => {
      await ownTargetClaims(tx, lane.target);
      const due = await lockDue(tx, await dueInLane(tx, place, lane, options), options);
      const behind = (await hasWaiting(tx, place)) ? await holdBack(tx, place, due) : NONE;
      const ids = due.flatMap(({ id }) => (behind.has(id) ? [] : id));
      return { leased: await leaseThese(tx, ids, options), heldBack: behind.size };
    });
    if (leased || heldBack === 0) return leased;
  }
  return undefined;
}

const NONE: ReadonlySet<string> = new Set();

/** SQL: those of the branch that are claimed, whoever has them. */
const CLAIMS = `
  select id, identity, ${isAbandoned("c")} or token = any ($6::bigint[]) as is_free
    from (${claims()}) c
   where tenant = $1 and branch = $2 and operation is null`;

const IS_FREE = `${ofLane("$3::int", "$4::int")}
  and identity not in (select identity from claims where not is_free)`;

async function dueInLane(
  tx: Tx,
  { tenant, branch }: InventoryPlace,
  { lane, lanes }: TargetLane,
  { limit, adopt = [] }: ClaimOptions,
): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>(
    `with claims as materialized (${CLAIMS})
     select id from (
       ${dueIds("$1", "$2", "$5", IS_FREE)}
       union all
       (select id from claims where is_free and ${IS_FREE} order by id limit $5)) due
      order by id limit $5`,
    [tenant, branch, lane, lanes, limit, adopt],
  );
  return rows.map(({ id }) => id);
}

/** Those of these that are still due, locked in their order. */
async function lockDue(
  tx: Tx,
  ids: readonly string[],
  { adopt = [] }: ClaimOptions,
): Promise<{ id: string; identity: string }[]> {
  if (ids.length === 0) return [];
  const { rows } = await tx.query<{ id: string; identity: string }>(
    lockInTurn(`
      select e.id, encode(e.identity, 'hex') as identity from holdfast.entities e
       where e.id = any ($1::bigint[])
         and (e.state in (${ENTITY_STATES.queued}, ${ENTITY_STATES.pending_retry})
              or e.state = ${ENTITY_STATES.open} and e.approved_hash is not null
              or ${isAbandoned("e")}
              or e.token = any ($2::bigint[]) and ${isClaimed("e")})`),
    [ids, adopt],
  );
  return rows;
}

async function leaseThese(
  tx: Tx,
  ids: readonly string[],
  { leaseSeconds }: ClaimOptions,
): Promise<Leased | undefined> {
  if (ids.length === 0) return undefined;
  const { rows } = await tx.query<LeasedRow>(
    `with leased as (
       update holdfast.entities e
          set state = case when e.approved_hash is null then ${planning} else ${applying} end,
              token = t.token, due_at = null,
              lease_until = clock_timestamp() + $2::float8 * interval '1 second'
         from (select nextval('holdfast.entity_tokens') as token) t
        where e.id = any ($1::bigint[])
       returning e.*
     )
     select e.id, encode(e.identity, 'hex') as identity, e.type, e.fields::text as fields,
            e.warnings, e.state, e.attempt, e.plans, e.removal, e.token,
            encode(e.approved_hash, 'hex') as approved, e.rule,
            e.decided_by is not null as decided,
            e.adopted_at is not null as adopted,
            e.decided_by is not null and e.origin is not distinct from ${ENTITY_STATES.ignored} as reopened,
            exists (select from holdfast.entities j
                     where j.tenant = e.tenant and j.branch = e.branch and j.identity = e.identity
                       and j.decided_by is not null and j.operation is null) as judged,
            a.key as open_key, a.change_set as open_set, encode(c.hash, 'hex') as open_hash
       from leased e
       left join lateral (
         select key, change_set from holdfast.apply_attempts
          where entity = e.id and ended_at is null order by token desc limit 1) a on true
       left join holdfast.change_sets c on c.id = a.change_set
      order by e.id`,
    [ids, leaseSeconds],
  );
  return { token: rows[0]!.token, entities: rows.map(leasedOf) };
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
  decided: boolean;
  adopted: boolean;
  reopened: boolean;
  judged: boolean;
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
    decided: row.decided,
    adopted: row.adopted,
    reopened: row.reopened,
    judged: row.judged,
    approved: row.approved ?? undefined,
    open:
      key === null
        ? undefined
        : { key, changeSet: set ?? undefined, hash: hash ?? undefined, rule: rule ?? undefined },
  };
}
