import {
  ENTITY_STATES,
  type Entity,
  type EntityState,
  type Fields,
} from "../contracts/inventory.ts";
import { parseExactJson } from "../domain/exact-json.ts";
import { dueIds } from "./plan-due.ts";
import { holdBack } from "./plan-hold-back.ts";
import { hasWaiting } from "./plan-settle.ts";
import { nameOf } from "./entity-states.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import type { Tx } from "./pool.ts";

/** Takes up entities that are due. */

export interface ClaimedEntity extends Pick<Entity, "type" | "fields" | "warnings"> {
  id: string;
  /** By what its versions are known to each other. */
  identity: string;
  state: EntityState;
  attempt: number;
  /** How many change sets it has had. */
  plans: number;
  /** Hash of the plan that a person approved. */
  approved: string | undefined;
  /** Somebody has decided about it: reopened it, say. */
  decided?: boolean;
  /** A snapshot no longer names what it is about. */
  removal?: boolean;
  /** Its branch became known only after newer ones may have been taken in. */
  adopted?: boolean;
  /** Somebody wants to look at it again after it was rejected or ignored. */
  reopened?: boolean;
}

const NONE: ReadonlySet<string> = new Set();

/** What was looked at: some of it cannot be worked yet. */
export interface Claim {
  entities: ClaimedEntity[];
  /** So many wait, from now on, as an older version of theirs does. */
  heldBack: number;
}

/** SQL: the place of an approved entity of a plan operation, which applies in the order it was planned in. */
const PLANNED = "(select max(c.id) from holdfast.change_sets c where c.entity = e.id)";

const approvedIds = (operation: string, limit: string) => `
  select id from holdfast.entities e
   where operation = ${operation} and state = 2 and approved_hash is not null
   order by ${PLANNED}, id limit ${limit}`;

/**
 * The oldest that are due, in order of acceptance, locked until the transaction ends. Whoever claims
 * holds the branch, so nothing is passed over that somebody is only looking at, and no older version that
 * waits.
 */
export async function claimEntities(tx: Tx, place: InventoryPlace, limit: number): Promise<Claim> {
  const due = await lockDue(tx, place, limit);
  if (place.operation !== undefined) return { entities: due, heldBack: 0 };
  const behind = (await hasWaiting(tx, place)) ? await holdBack(tx, place, due) : NONE;
  const entities = behind.size === 0 ? due : due.filter(({ id }) => !behind.has(id));
  return { entities, heldBack: behind.size };
}

/**
 * SQL: these, locked in order of id, as whoever decides about them does. Removals come last and are passed
 * over when locked: a snapshot undoes them one after another as it reads on, and may wait for each.
 */
export const lockInTurn = (entities: string) => `
  with said as materialized (${entities} and not e.removal order by e.id for update of e),
  removals as materialized (
    ${entities} and e.removal order by e.id for update of e skip locked)
  select * from (select * from said union all select * from removals) due order by due.id`;

async function lockDue(tx: Tx, place: InventoryPlace, limit: number): Promise<ClaimedEntity[]> {
  const { rows } = await tx.query<{
    id: string;
    identity: string;
    type: string;
    fields: string;
    warnings: string[] | null;
    state: number;
    attempt: number;
    plans: number;
    approved: string | null;
    decided: boolean;
    removal: boolean;
    adopted: boolean;
    reopened: boolean;
    planned: string | null;
  }>(
    lockInTurn(`select e.id, encode(e.identity, 'hex') as identity, e.type, e.fields::text as fields, e.warnings, e.state, e.attempt, e.plans,
            encode(e.approved_hash, 'hex') as approved, e.decided_by is not null as decided, e.removal,
            e.adopted_at is not null as adopted,
            e.decided_by is not null and e.origin is not distinct from ${ENTITY_STATES.ignored} as reopened,
            ${place.operation === undefined ? "null" : PLANNED} as planned
       from holdfast.entities e
      where e.id = any (array(${
        place.operation === undefined
          ? `select id from (${dueIds("$1", "$2", "$3")}) due order by id limit $3`
          : approvedIds("$4", "$3")
      }))
        and (${place.operation === undefined ? "e.state in (1, 9) or " : "$1 = e.tenant and $2 = e.branch and "}e.state = 2 and e.approved_hash is not null)`),
    [
      place.tenant,
      place.branch,
      limit,
      ...(place.operation === undefined ? [] : [place.operation]),
    ],
  );
  if (place.operation !== undefined) {
    rows.sort(
      (a, b) => Number(a.planned ?? 0) - Number(b.planned ?? 0) || Number(a.id) - Number(b.id),
    );
  }
  return rows.map(({ fields, warnings, state, approved, ...row }) => ({
    ...row,
    fields: parseExactJson(fields) as Fields,
    warnings: warnings ?? [],
    state: nameOf(state),
    approved: approved ?? undefined,
  }));
}
