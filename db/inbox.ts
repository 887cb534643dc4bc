import { setImmediate } from "node:timers/promises";
import { v7 as uuidv7 } from "uuid";
import type { InputIssue } from "../contracts/errors.ts";
import {
  ENTITY_STATES,
  type Entity,
  type EntityState,
  type EntityStateNumber,
} from "../contracts/inventory.ts";
import { canonicalJson } from "../domain/exact-json.ts";
import { hashOfText } from "../domain/inventory-hash.ts";
import { entityIdentity } from "../domain/inventory-identity.ts";
import { ofDuplicate } from "../domain/inventory-state.ts";
import type { Registry } from "../domain/registry.ts";
import { column } from "./columns.ts";
import { ownInboxes } from "./locks.ts";
import type { Queryable, Tx } from "./pool.ts";

/** The inbox: entities are taken in once, and what was said already is counted. */

export interface Ingest {
  tenant: string;
  /** What entities that name no branch belong to; null: that is not known yet. */
  branch: string | null;
  /** Where they come from: `http`, `file`, a stream's name. */
  source: string;
  /** What the source calls this message. A repeat of it is answered and changes nothing. */
  messageId?: string | undefined;
  entities: readonly Entity[];
  rejects?: readonly Reject[] | undefined;
}

export interface Reject {
  /** Number of the line, from 1. */
  no: number;
  code: string;
  issues: readonly InputIssue[];
  raw?: Uint8Array | undefined;
}

export interface IngestAnswer {
  /** Id of the row in `ingest_requests`. */
  request: string;
  /** True when this message was taken before; the counts are those of then. */
  repeated: boolean;
  received: number;
  accepted: number;
  /** Said by a version that is still to come, or by one before it in this message. */
  copies: number;
  rejected: number;
}

/** Rows of one statement. */
const CHUNK = 2_500;

/**
 * Takes entities in, in their order, as part of the given transaction: all of a message or nothing of
 * it. Others who take in for the same branch wait until it ends, so keep it short.
 */
export async function ingest(tx: Tx, registry: Registry, given: Ingest): Promise<IngestAnswer> {
  const rejects = given.rejects ?? [];
  const request = uuidv7();
  if (!(await insertRequest(tx, request, given))) return findRepeated(tx, given);
  const received = given.entities.length + rejects.length;
  const counts = { received, accepted: 0, copies: 0, rejected: rejects.length };

  const byBranch = new Map<string | null, Entity[]>();
  for (const entity of given.entities) {
    const branch = entity.branch ?? given.branch;
    const list = byBranch.get(branch);
    if (list) list.push(entity);
    else byBranch.set(branch, [entity]);
  }
  await ownInboxes(tx, given.tenant, [...byBranch.keys()]);
  for (const [branch, entities] of byBranch) {
    const place = { tenant: given.tenant, branch, request };
    const copies = new Map<string, number>();
    // The next ones are read while the database writes these.
    let read = await readChunk(registry, entities.slice(0, CHUNK));
    for (let at = CHUNK; read.length > 0; at += CHUNK) {
      const taking = takeIn(tx, place, read, copies);
      const next = readChunk(registry, entities.slice(at, at + CHUNK));
      [counts.accepted, read] = await Promise.all([taking.then((n) => counts.accepted + n), next]);
    }
    for (const n of copies.values()) counts.copies += n;
    await insertCopies(tx, request, copies);
  }
  await insertRejects(tx, given.tenant, request, rejects);
  await countRequest(tx, request, counts);
  return { request, repeated: false, ...counts };
}

interface Place {
  tenant: string;
  branch: string | null;
  request: string;
}

interface Version {
  id: string;
  hash: string;
  /** Absent: taken in by this message. */
  state?: EntityState;
}

interface NewEntity extends ReadEntity {
  id: string;
  origin: EntityStateNumber | undefined;
}

interface ReadEntity {
  entity: Entity;
  identity: string;
  hash: string;
  /** Its fields as canonical JSON. */
  text: string;
}

/** Entities between which the process may do something else. */
const AT_ONCE = 250;

async function readChunk(registry: Registry, entities: readonly Entity[]): Promise<ReadEntity[]> {
  const read: ReadEntity[] = [];
  for (const entity of entities) {
    if (read.length % AT_ONCE === AT_ONCE - 1) await setImmediate();
    const text = canonicalJson(entity.fields);
    const hash = hashOfText(entity.type, text);
    read.push({ entity, text, hash, identity: entityIdentity(registry, entity) });
  }
  return read;
}

/** Inserts what is new, and notes of what the rest is a copy. */
async function takeIn(
  tx: Tx,
  place: Place,
  read: readonly ReadEntity[],
  copies: Map<string, number>,
): Promise<number> {
  const identities = [...new Set(read.map(({ identity }) => identity))];
  const newest =
    place.branch === null
      ? new Map<string, Version>()
      : await newestVersions(tx, place.tenant, place.branch, identities);
  const ids = await drawIds(tx, read.length);
  const fresh: NewEntity[] = [];
  for (const { entity, text, hash, identity } of read) {
    const known = place.branch === null ? undefined : newest.get(identity);
    const same = known?.hash === hash;
    if (same && (known.state === undefined || ofDuplicate(known.state) === "count")) {
      copies.set(known.id, (copies.get(known.id) ?? 0) + 1);
      continue;
    }
    const id = ids[fresh.length]!;
    const origin = same ? ENTITY_STATES[known.state!] : undefined;
    fresh.push({ id, entity, identity, hash, text, origin });
    newest.set(identity, { id, hash });
  }
  await insertEntities(tx, place, fresh);
  return fresh.length;
}

async function insertRequest(tx: Tx, id: string, given: Ingest): Promise<boolean> {
  const { rowCount } = await tx.query(
    `insert into holdfast.ingest_requests (id, tenant, source, message_id)
     values ($1, $2, $3, $4) on conflict do nothing`,
    [id, given.tenant, given.source, given.messageId ?? null],
  );
  return rowCount === 1;
}

async function findRepeated(tx: Tx, given: Ingest): Promise<IngestAnswer> {
  const { rows } = await tx.query<Omit<IngestAnswer, "repeated">>(
    `select id as request, received, accepted, copies, rejected from holdfast.ingest_requests
      where tenant = $1 and source = $2 and message_id = $3`,
    [given.tenant, given.source, given.messageId],
  );
  return { ...rows[0]!, repeated: true };
}

async function newestVersions(
  tx: Tx,
  tenant: string,
  branch: string,
  identities: readonly string[],
): Promise<Map<string, Version>> {
  const { rows } = await tx.query<{ identity: string; id: string; hash: string; state: number }>(
    `select w.identity, e.id, encode(e.hash, 'hex') as hash, e.state
       from string_to_table($3, e'\\n') as w(identity)
      cross join lateral (
        select id, hash, state from holdfast.entities
         where tenant = $1 and branch = $2 and identity = decode(w.identity, 'hex') and operation is null
         order by id desc limit 1) e`,
    [tenant, branch, column(identities)],
  );
  return new Map(
    rows.map(({ identity, id, hash, state }) => [identity, { id, hash, state: nameOf(state) }]),
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
  await tx.query(
    `insert into holdfast.entities
       (tenant, branch, request, id, type, identity, hash, fields, warnings, source_time, origin)
     select $1, $2, $3, e.id::bigint, e.type, decode(e.identity, 'hex'), decode(e.hash, 'hex'),
            e.fields::jsonb, e.warnings::jsonb, e.source_time, e.origin::smallint
       from rows from (
         string_to_table($4, e'\\n'), string_to_table($5, e'\\n'), string_to_table($6, e'\\n'),
         string_to_table($7, e'\\n'), string_to_table($8, e'\\n'), string_to_table($9, e'\\n', ''),
         string_to_table($10, e'\\n', ''), string_to_table($11, e'\\n', '')
       ) as e(id, type, identity, hash, fields, warnings, source_time, origin)`,
    [
      place.tenant,
      place.branch,
      place.request,
      column(fresh.map(({ id }) => id)),
      column(fresh.map(({ entity }) => entity.type)),
      column(fresh.map(({ identity }) => identity)),
      column(fresh.map(({ hash }) => hash)),
      column(fresh.map(({ text }) => text)),
      column(
        fresh.map(({ entity: { warnings } }) =>
          warnings.length > 0 ? JSON.stringify(warnings) : undefined,
        ),
      ),
      column(fresh.map(({ entity }) => entity.sourceTime)),
      column(fresh.map(({ origin }) => origin?.toString())),
    ],
  );
}

async function insertCopies(
  tx: Tx,
  request: string,
  copies: ReadonlyMap<string, number>,
): Promise<void> {
  if (copies.size === 0) return;
  await tx.query(
    `insert into holdfast.entity_copies (request, entity, n)
     select $1, entity, n from unnest($2::bigint[], $3::int[]) as c(entity, n)`,
    [request, [...copies.keys()], [...copies.values()]],
  );
}

async function insertRejects(
  tx: Tx,
  tenant: string,
  request: string,
  rejects: readonly Reject[],
): Promise<void> {
  if (rejects.length === 0) return;
  await tx.query(
    `insert into holdfast.inbox_rejects (request, tenant, no, code, issues, raw)
     select $1, $2, no, code, issues, raw
       from unnest($3::int[], $4::text[], $5::jsonb[], $6::bytea[]) as r(no, code, issues, raw)`,
    [
      request,
      tenant,
      rejects.map(({ no }) => no),
      rejects.map(({ code }) => code),
      rejects.map(({ issues }) => JSON.stringify(issues)),
      rejects.map(({ raw }) => (raw ? Buffer.from(raw) : null)),
    ],
  );
}

async function countRequest(
  tx: Tx,
  id: string,
  counts: Pick<IngestAnswer, "received" | "accepted" | "copies" | "rejected">,
): Promise<void> {
  await tx.query(
    `update holdfast.ingest_requests set received = $2, accepted = $3, copies = $4, rejected = $5
      where id = $1`,
    [id, counts.received, counts.accepted, counts.copies, counts.rejected],
  );
}

const NAMES = new Map(
  Object.entries(ENTITY_STATES).map(([name, no]) => [no as number, name as EntityState]),
);

/** The name of a stored state. */
export function nameOf(state: number): EntityState {
  return NAMES.get(state)!;
}

export interface RequestView extends Omit<IngestAnswer, "repeated"> {
  tenant: string;
  source: string;
  messageId: string | null;
  at: Date;
  /** Of what it brought, copies included, by the state of the version that says it. */
  states: Partial<Record<EntityState, number>>;
}

/** A request with what became of what it brought; undefined when there is none. */
export async function findIngestRequest(
  db: Queryable,
  id: string,
): Promise<RequestView | undefined> {
  const { rows } = await db.query<Omit<RequestView, "states"> & { states: Record<string, number> }>(
    `select r.id as request, r.tenant, r.source, r.message_id as "messageId", r.at, r.received,
            r.accepted, r.copies, r.rejected, coalesce(s.states, '{}') as states
       from holdfast.ingest_requests r
      cross join lateral (
        select jsonb_object_agg(state, n) as states
          from (select state, sum(n) as n
                  from (select state, 1 as n from holdfast.entities where request = r.id
                        union all
                        select e.state, c.n from holdfast.entity_copies c
                          join holdfast.entities e on e.id = c.entity where c.request = r.id) said
                 group by state) counted) s
      where r.id = $1`,
    [id],
  );
  const row = rows[0];
  if (!row) return undefined;
  const states = Object.entries(row.states).map(([state, n]) => [nameOf(Number(state)), n]);
  return { ...row, states: Object.fromEntries(states) as RequestView["states"] };
}

/** Entities whose branch was not known belong to this one from now on. Answers how many. */
export async function resolveBranch(tx: Tx, tenant: string, branch: string): Promise<number> {
  await ownInboxes(tx, tenant, [null, branch]);
  const { rowCount } = await tx.query(
    "update holdfast.entities set branch = $2 where tenant = $1 and branch is null",
    [tenant, branch],
  );
  return rowCount ?? 0;
}
