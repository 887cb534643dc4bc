import { ENTITY_STATES, type Fields } from "../contracts/inventory.ts";
import { parseExactJson } from "../domain/exact-json.ts";
import { nameOf } from "./entity-states.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import { ownTargetClaims } from "./locks.ts";
import type { ClaimedEntity } from "./plan-claim.ts";
import { dueKinds, isAbandoned, type TargetLane } from "./plan-lease-due.ts";
import type { Db } from "./pool.ts";

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

const { applying, pending_retry, planning } = ENTITY_STATES;

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
              e.decided_by is not null as decided,
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
  decided: boolean;
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
    reopened: row.reopened,
    judged: row.judged,
    approved: row.approved ?? undefined,
    open:
      key === null
        ? undefined
        : { key, changeSet: set ?? undefined, hash: hash ?? undefined, rule: rule ?? undefined },
  };
}
