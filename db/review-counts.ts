import type { Fields } from "../contracts/inventory.ts";
import { parseExactJson } from "../domain/exact-json.ts";
import type { Queryable } from "./pool.ts";

/** How much waits for people, walked along the small indexes of what is open. */

export interface ReviewCount {
  tenant: string;
  /** Waits for a decision, counted up to `countTo`. */
  open: number;
  /** Failed or given up, likewise. */
  troubled: number;
}

/** By tenant, for those who have any; the first 200 tenants. */
export async function countReviews(
  db: Queryable,
  tenants: readonly string[] | undefined,
  countTo: number,
): Promise<ReviewCount[]> {
  const { rows } = await db.query<ReviewCount>(
    `with recursive opened as (
       (select tenant from holdfast.entities where state = 2 order by tenant limit 1)
       union all
       select n.tenant from opened o
        cross join lateral (select tenant from holdfast.entities
                             where state = 2 and tenant > o.tenant order by tenant limit 1) n
     ), troubled as (
       (select tenant from holdfast.entities where state in (4, 6, 7) order by tenant limit 1)
       union all
       select n.tenant from troubled t
        cross join lateral (select tenant from holdfast.entities
                             where state in (4, 6, 7) and tenant > t.tenant order by tenant limit 1) n
     ), known as (
       select tenant from opened union select tenant from troubled order by tenant limit 200
     )
     select k.tenant, o.n as open, t.n as troubled
       from known k
      cross join lateral (
        select count(*) filter (where approved_hash is null)::int as n
          from (select approved_hash from holdfast.entities
                 where tenant = k.tenant and state = 2 limit $2) counted) o
      cross join lateral (
        select count(*) filter (where state in (4, 7))::int as n
          from (select state from holdfast.entities
                 where tenant = k.tenant and state in (4, 6, 7) limit $2) counted) t
      where $1::text[] is null or k.tenant = any ($1)
      order by k.tenant`,
    [tenants ?? null, countTo],
  );
  return rows;
}

export interface HeldBranch {
  tenant: string;
  branch: string;
  at: Date;
  because: string;
  /** Objects when the window began, and how many of them changed in it. */
  objects: number;
  changed: number;
  /** Queued in it, counted up to 10,000. */
  queued: number;
}

/** Branches that wait until somebody has looked, those held longest first. */
export async function listHolds(
  db: Queryable,
  tenants: readonly string[] | undefined,
): Promise<HeldBranch[]> {
  const { rows } = await db.query<HeldBranch>(
    `select g.tenant, g.branch, g.held_at as at, g.held_because as because,
            g.objects::float8 as objects, g.changed::float8 as changed, q.n as queued
       from holdfast.inventory_guards g
      cross join lateral (
        select count(*)::int as n from (
          select from holdfast.entities e
           where e.tenant = g.tenant and e.branch = g.branch and e.state = 1 and e.operation is null
           limit 10000) counted) q
      where g.held_at is not null and ($1::text[] is null or g.tenant = any ($1))
      order by g.held_at limit 200`,
    [tenants ?? null],
  );
  return rows;
}

export async function countHolds(
  db: Queryable,
  tenants: readonly string[] | undefined,
): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    `select count(*)::int as n from holdfast.inventory_guards
      where held_at is not null and ($1::text[] is null or tenant = any ($1))`,
    [tenants ?? null],
  );
  return rows[0]!.n;
}

/** What names the object that each of these entities is about, as its newest plan says. */
export async function listPrimaries(
  db: Queryable,
  entities: readonly string[],
): Promise<{ entity: string; identity: Fields }[]> {
  const { rows } = await db.query<{ entity: string; identity: string }>(
    `select w.id::text as entity, p.identity
       from unnest($1::bigint[]) as w(id)
      cross join lateral (
        select changes from holdfast.change_sets where entity = w.id order by id desc limit 1) c
      cross join lateral (
        select (x.value -> 'identity')::text as identity
          from jsonb_array_elements(c.changes) as x(value)
         where x.value -> 'primary' = 'true' limit 1) p`,
    [entities],
  );
  return rows.map(({ entity, identity }) => ({
    entity,
    identity: parseExactJson(identity) as Fields,
  }));
}
