import type { IngestAnswer, RejectView, RequestDetail, RequestView } from "../contracts/inbox.ts";
import { Conflict, type InputIssue } from "../contracts/errors.ts";
import type { EntityState } from "../contracts/inventory.ts";
import type { Page } from "../contracts/operation.ts";
import { isSettled } from "../domain/inventory-state.ts";
import { nameOf } from "./entity-states.ts";
import type { Queryable, Tx } from "./pool.ts";

/** One row for each call, file or stream message; what of it could not be taken stands beside it. */

export interface Reject {
  /** Number of the line, from 1. */
  no: number;
  code: string;
  issues: readonly InputIssue[];
  raw?: Uint8Array | undefined;
}

interface MessageName {
  tenant: string;
  source: string;
  messageId?: string | undefined;
}

/** False when the message was taken before. */
export async function insertRequest(
  tx: Tx,
  id: string,
  { tenant, source, messageId, by }: MessageName & { by?: string | undefined },
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `insert into holdfast.ingest_requests (id, tenant, source, message_id, submitted_by)
     values ($1, $2, $3, $4, $5) on conflict do nothing`,
    [id, tenant, source, messageId ?? null, by ?? null],
  );
  return rowCount === 1;
}

/**
 * What was answered to a message that was taken before. @throws Conflict when that one said something else
 */
export async function findRepeated(
  tx: Tx,
  message: MessageName,
  digest: Buffer,
): Promise<IngestAnswer> {
  const { digest: before, ...answer } = (await findMessage(tx, message))!;
  // A caller's driver may give bytes in a class of its own.
  if (before !== null && Buffer.compare(before, digest) !== 0) {
    throw new Conflict(
      "key-reused",
      `message "${message.messageId}" was taken with other content (request ${answer.request}): use a new id`,
      { request: answer.request },
    );
  }
  return { ...answer, repeated: true };
}

/** True when the message was taken before. */
export async function isTaken(db: Queryable, message: MessageName): Promise<boolean> {
  return (await findMessage(db, message)) !== undefined;
}

async function findMessage(
  db: Queryable,
  { tenant, source, messageId }: MessageName,
): Promise<(Omit<IngestAnswer, "repeated"> & { digest: Buffer | null }) | undefined> {
  const { rows } = await db.query<Omit<IngestAnswer, "repeated"> & { digest: Buffer | null }>(
    `select id as request, received, accepted, copies, rejected, digest
       from holdfast.ingest_requests
      where tenant = $1 and source = $2 and message_id = $3`,
    [tenant, source, messageId],
  );
  return rows[0];
}

export async function countRequest(
  tx: Tx,
  id: string,
  counts: Pick<IngestAnswer, "received" | "accepted" | "copies" | "rejected"> & {
    missing: number | null;
    digest?: Buffer | undefined;
  },
): Promise<void> {
  await tx.query(
    `update holdfast.ingest_requests
        set received = $2, accepted = $3, copies = $4, rejected = $5, missing = $6, digest = $7
      where id = $1`,
    [
      id,
      counts.received,
      counts.accepted,
      counts.copies,
      counts.rejected,
      counts.missing,
      counts.digest ?? null,
    ],
  );
}

export async function insertRejects(
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

const COLUMNS = `r.id as request, r.tenant, r.source, r.message_id as "messageId",
            r.submitted_by as by, r.scope, r.branch, r.missing, r.received, r.accepted,
            r.copies, r.rejected,
            to_char(r.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at`;

/** A request with what became of what it brought; undefined when there is none. */
export async function findIngestRequest(
  db: Queryable,
  id: string,
): Promise<RequestDetail | undefined> {
  const { rows } = await db.query<RequestView & { states: Record<string, number> }>(
    `select ${COLUMNS}, coalesce(s.states, '{}') as states
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
  const states = Object.entries(row.states).map(
    ([state, n]) => [nameOf(Number(state)), n] as const,
  );
  return {
    ...row,
    states: Object.fromEntries(states),
    settled: states.every(([state]) => state === "open" || isSettled(state as EntityState)),
  };
}

/** Newest first. `after`: `instant/id` of the last one seen. */
export async function listIngestRequests(
  db: Queryable,
  filter: {
    tenant?: string | undefined;
    tenants?: readonly string[] | undefined;
    source?: string | undefined;
    scope?: string | undefined;
    after?: { at: string; id: string } | undefined;
    limit: number;
  },
): Promise<Page<RequestView>> {
  const { rows } = await db.query<RequestView>(
    `select ${COLUMNS}
       from holdfast.ingest_requests r
      where ($1::text is null or r.tenant = $1) and ($2::text[] is null or r.tenant = any ($2))
        and ($3::text is null or r.source = $3) and ($4::text is null or r.scope = $4)
        and ($5::timestamptz is null or (r.at, r.id) < ($5::timestamptz, $6::uuid))
      order by r.at desc, r.id desc limit $7`,
    [
      filter.tenant ?? null,
      filter.tenants ?? null,
      filter.source ?? null,
      filter.scope ?? null,
      filter.after?.at ?? null,
      filter.after?.id ?? null,
      filter.limit + 1,
    ],
  );
  const items = rows.slice(0, filter.limit);
  const last = items.at(-1);
  return rows.length > filter.limit ? { items, next: `${last!.at}/${last!.request}` } : { items };
}

/** In order of their numbers. */
export async function listRejects(
  db: Queryable,
  request: string,
  { after, limit }: { after?: string | undefined; limit: number },
): Promise<Page<RejectView>> {
  const { rows } = await db.query<
    Omit<RejectView, "raw" | "at"> & { raw: Buffer | null; at: Date }
  >(
    `select id, request, no, code, issues, raw, at from holdfast.inbox_rejects
      where request = $1 and no > coalesce($2::bigint, 0)
      order by no limit $3`,
    [request, after ?? null, limit + 1],
  );
  const items = rows.slice(0, limit).map(({ raw, at, ...row }) => ({
    ...row,
    raw: raw && raw.toString("utf8"),
    at: at.toISOString(),
  }));
  return rows.length > limit ? { items, next: String(items.at(-1)!.no) } : { items };
}
