import { ENTITY_STATES, type EntityState, type EntityStateNumber } from "../contracts/inventory.ts";
import type { InboxEntry } from "../domain/inbox-entry.ts";
import { ofDuplicate } from "../domain/inventory-state.ts";
import { column } from "./columns.ts";
import { nameOf } from "./entity-states.ts";
import { ownInboxes } from "./locks.ts";
import type { Db, Tx } from "./pool.ts";

/** Accepted entities: versions of identities, in the order of acceptance. */

export interface Place {
  tenant: string;
  /** null: not known yet. Then nothing is compared. */
  branch: string | null;
  /** Of all entries, or of each. */
  request: string | ((entry: InboxEntry) => string);
}

interface Version {
  id: string;
  hash: string;
  /** Absent: taken in by this message. */
  state?: EntityState;
  /** It says that the object is gone. */
  removal?: boolean;
}

interface NewEntity {
  id: string;
  entry: InboxEntry;
  origin: EntityStateNumber | undefined;
}

/** Whoever wants to know which version was said again, and by what. */
export interface CopyCounter {
  add(entity: string, entry: InboxEntry): void;
}

/** How often each version was said again. */
export interface Copies extends CopyCounter {
  /** Of the whole message. */
  readonly total: number;
  /** Writes what is counted; unless `all` is wanted, only when it is much. */
  flush(tx: Tx, request: string, how: { all: boolean }): Promise<void>;
}

export interface TakenIn {
  accepted: number;
  /** The version that says it, for each of the entries. */
  named: string[];
}

/** Inserts what is new, and counts the rest as copies. Whoever calls owns the inbox of the branch. */
export async function takeIn(
  tx: Tx,
  place: Place,
  entries: readonly InboxEntry[],
  copies: CopyCounter,
): Promise<TakenIn> {
  const newest = await newestVersions(tx, place, entries);
  const ids = await drawIds(tx, entries.length);
  const fresh: NewEntity[] = [];
  const named: string[] = [];
  const undone: string[] = [];
  for (const entry of entries) {
    const known = place.branch === null ? undefined : newest.get(entry.identity);
    const same = known?.hash === entry.hash && !known.removal;
    if (same && (known.state === undefined || ofDuplicate(known.state) === "count")) {
      copies.add(known.id, entry);
      named.push(known.id);
      continue;
    }
    if (known?.removal) undone.push(known.id);
    const id = ids[fresh.length]!;
    const origin = same ? ENTITY_STATES[known.state!] : undefined;
    fresh.push({ id, entry, origin });
    named.push(id);
    newest.set(entry.identity, { id, hash: entry.hash });
  }
  await insertEntities(tx, place, fresh);
  if (undone.length > 0) await undoRemovals(tx, undone);
  return { accepted: fresh.length, named };
}

// Asked for as the first row from there on, which one index alone can find. For a tenant that Postgres has
// no statistics of yet it would take any index that begins with the tenant, and read all of the tenant.
async function newestVersions(
  tx: Tx,
  { tenant, branch }: Place,
  entries: readonly InboxEntry[],
): Promise<Map<string, Version>> {
  if (branch === null) return new Map();
  const identities = [...new Set(entries.map(({ identity }) => identity))];
  const { rows } = await tx.query<{
    identity: string;
    id: string;
    hash: string;
    state: number;
    removal: boolean;
  }>(
    `select w.identity, e.id, encode(e.hash, 'hex') as hash, e.state, e.removal
       from string_to_table($3, e'\\n') as w(identity)
      cross join lateral (
        select tenant, branch, identity, id, hash, state, removal from holdfast.entities
         where (tenant, branch, identity) >= ($1, $2, decode(w.identity, 'hex')) and operation is null
         order by tenant, branch, identity, id desc limit 1) e
      where e.tenant = $1 and e.branch = $2 and e.identity = decode(w.identity, 'hex')`,
    [tenant, branch, column(identities)],
  );
  return new Map(
    rows.map(({ identity, id, hash, state, removal }) => [
      identity,
      { id, hash, state: nameOf(state), removal },
    ]),
  );
}

async function drawIds(tx: Tx, count: number): Promise<string[]> {
  const { rows } = await tx.query<{ ids: string }>(
    `select string_agg(nextval('holdfast.entity_ids')::text, ',') as ids
       from generate_series(1, $1)`,
    [count],
  );
  return rows[0]!.ids.split(",");
}

async function insertEntities(tx: Tx, place: Place, fresh: readonly NewEntity[]): Promise<void> {
  if (fresh.length === 0) return;
  const of = place.request;
  await tx.query(
    `insert into holdfast.entities
       (tenant, branch, request, id, type, identity, hash, fields, warnings, source_time, origin)
     select $1, $2, coalesce(e.request::uuid, $3), e.id::bigint, e.type, decode(e.identity, 'hex'), decode(e.hash, 'hex'),
            e.fields::jsonb, e.warnings::jsonb, e.source_time, e.origin::smallint
       from rows from (
         string_to_table($4, e'\\n'), string_to_table($5, e'\\n'), string_to_table($6, e'\\n'),
         string_to_table($7, e'\\n'), string_to_table($8, e'\\n'), string_to_table($9, e'\\n', ''),
         string_to_table($10, e'\\n', ''), string_to_table($11, e'\\n', ''),
         string_to_table($12, e'\\n')
       ) as e(id, type, identity, hash, fields, warnings, source_time, origin, request)`,
    [
      place.tenant,
      place.branch,
      typeof of === "string" ? of : null,
      column(fresh.map(({ id }) => id)),
      column(fresh.map(({ entry }) => entry.type)),
      column(fresh.map(({ entry }) => entry.identity)),
      column(fresh.map(({ entry }) => entry.hash)),
      column(fresh.map(({ entry }) => entry.text)),
      column(fresh.map(({ entry }) => entry.warnings)),
      column(fresh.map(({ entry }) => entry.sourceTime)),
      column(fresh.map(({ origin }) => origin?.toString())),
      typeof of === "string" ? "" : column(fresh.map(({ entry }) => of(entry))),
    ],
  );
}

/**
 * Ends removals that are not applied, because what they would remove was seen again, and forgets that it
 * was missing. One that is being applied is waited for: then what was seen comes after it.
 */
export async function undoRemovals(tx: Tx, removals: readonly string[]): Promise<void> {
  await tx.query(
    `with removals as (
       select id from holdfast.entities
        where id = any ($1::bigint[]) and state in (1, 2, 9) order by id for update
     ), ended as (
       update holdfast.entities e
          set state = ${ENTITY_STATES.superseded}, settled_at = clock_timestamp(), due_at = null,
              waits_for = null, approved_hash = null
         from removals r where e.id = r.id and e.state in (1, 2, 9)
     )
     update holdfast.scope_members set missing_since = null, removal = null
      where removal = any ($1::bigint[])`,
    [removals],
  );
}

/** Versions counted before they are written, so that a message of any size takes little memory. */
const MOST_COUNTED = 20_000;

export function createCopies(): Copies {
  const counted = new Map<string, number>();
  let total = 0;
  return {
    get total() {
      return total;
    },
    add(entity) {
      total++;
      counted.set(entity, (counted.get(entity) ?? 0) + 1);
    },
    async flush(tx, request, { all }) {
      if (counted.size === 0 || (!all && counted.size < MOST_COUNTED)) return;
      await upsertCopies(tx, request, counted);
      counted.clear();
    },
  };
}

async function upsertCopies(
  tx: Tx,
  request: string,
  copies: ReadonlyMap<string, number>,
): Promise<void> {
  await tx.query(
    `insert into holdfast.entity_copies (request, entity, n)
     select $1, entity, n from unnest($2::bigint[], $3::int[]) as c(entity, n)
     on conflict (request, entity) do update set n = entity_copies.n + excluded.n`,
    [request, [...copies.keys()], [...copies.values()]],
  );
}

/** Entities that get their branch in one transaction. */
const ADOPTED = 10_000;

/**
 * The oldest entities whose branch was not known belong to this one from now on: a page of them, so that
 * nobody waits long to take in. Answers how many; less than a page: there are no more.
 */
export async function adoptPage(
  tx: Tx,
  tenant: string,
  branch: string,
  limit = ADOPTED,
): Promise<number> {
  await ownInboxes(tx, tenant, [null, branch]);
  const { rowCount } = await tx.query(
    `update holdfast.entities set branch = $2, adopted_at = clock_timestamp()
      where id = any (array(
        select id from holdfast.entities
         where tenant = $1 and branch is null and state = 1 and operation is null
         order by tenant, branch, id limit $3))`,
    [tenant, branch, limit],
  );
  return rowCount ?? 0;
}

/** The same of all of them, page by page, each in a transaction of its own: safe to repeat. */
export async function resolveBranch(
  db: Db,
  tenant: string,
  branch: string,
  page = ADOPTED,
): Promise<number> {
  let all = 0;
  for (let more = true; more;) {
    const adopted = await db.transaction((tx) => adoptPage(tx, tenant, branch, page));
    all += adopted;
    more = adopted === page;
  }
  return all;
}
