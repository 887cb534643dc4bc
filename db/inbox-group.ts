import { v7 as uuidv7 } from "uuid";
import type { InboxEntry } from "../domain/inbox-entry.ts";
import { takeIn } from "./inbox-entities.ts";
import { CHUNK, type IngestAnswer, type Message, type Reject } from "./inbox.ts";
import { ownInboxes } from "./locks.ts";
import type { Tx } from "./pool.ts";

/** Small messages, taken in together: as many statements for all of them as for one. */

export interface GroupMessage {
  messageId: string;
  entries: readonly InboxEntry[];
  rejects: readonly Reject[];
}

type Source = Pick<Message, "tenant" | "branch" | "source">;
type Counts = Pick<IngestAnswer, "received" | "accepted" | "copies" | "rejected">;

interface Taken extends GroupMessage {
  request: string;
  /** By the version that was said again. */
  copies: Map<string, number>;
  counts: Counts;
}

/**
 * Takes several messages of one source in, in their order, as part of the given transaction. A message that
 * was taken before is answered as it was then.
 */
export async function ingestGroup(
  tx: Tx,
  source: Source,
  messages: readonly GroupMessage[],
): Promise<IngestAnswer[]> {
  const all = messages.map((message) => newlyTaken(message));
  const fresh = await insertRequests(tx, source, all);
  const taken = all.filter(({ request }) => fresh.has(request));
  await takeEntries(tx, source, taken);
  await insertCopies(tx, taken);
  await insertRejects(tx, source.tenant, taken);
  await countRequests(tx, taken);
  const repeated =
    taken.length < all.length
      ? await findRepeated(
          tx,
          source,
          all.filter(({ request }) => !fresh.has(request)),
        )
      : new Map<string, IngestAnswer>();
  return all.map(({ request, messageId, counts }) =>
    fresh.has(request) ? { request, repeated: false, ...counts } : repeated.get(messageId)!,
  );
}

function newlyTaken(message: GroupMessage): Taken {
  const [accepted, rejected] = [message.entries.length, message.rejects.length];
  const counts = { received: accepted + rejected, accepted, copies: 0, rejected };
  return { ...message, request: uuidv7(), copies: new Map(), counts };
}

async function takeEntries(tx: Tx, source: Source, taken: readonly Taken[]): Promise<void> {
  const messageOf = new Map<InboxEntry, Taken>();
  const byBranch = new Map<string | null, InboxEntry[]>();
  for (const message of taken) {
    for (const entry of message.entries) {
      const branch = entry.branch ?? source.branch;
      const group = byBranch.get(branch);
      if (group) group.push(entry);
      else byBranch.set(branch, [entry]);
      messageOf.set(entry, message);
    }
  }
  const copies = {
    add(entity: string, entry: InboxEntry) {
      const message = messageOf.get(entry)!;
      message.copies.set(entity, (message.copies.get(entity) ?? 0) + 1);
      message.counts.copies++;
      message.counts.accepted--;
    },
  };
  const request = (entry: InboxEntry) => messageOf.get(entry)!.request;
  await ownInboxes(tx, source.tenant, [...byBranch.keys()]);
  for (const [branch, entries] of byBranch) {
    const place = { tenant: source.tenant, branch, request };
    for (let from = 0; from < entries.length; from += CHUNK) {
      await takeIn(tx, place, entries.slice(from, from + CHUNK), copies);
    }
  }
}

/**
 * Answers the requests of messages that had not been taken before. Two who have the same messages wait
 * for each other in one order.
 */
async function insertRequests(
  tx: Tx,
  { tenant, source }: Source,
  messages: readonly Taken[],
): Promise<Set<string>> {
  const { rows } = await tx.query<{ id: string }>(
    `insert into holdfast.ingest_requests (id, tenant, source, message_id)
     select id, $1, $2, message_id from unnest($3::uuid[], $4::text[]) as m(id, message_id)
      order by message_id
         on conflict do nothing
     returning id`,
    [
      tenant,
      source,
      messages.map(({ request }) => request),
      messages.map(({ messageId }) => messageId),
    ],
  );
  return new Set(rows.map(({ id }) => id));
}

async function findRepeated(
  tx: Tx,
  { tenant, source }: Source,
  messages: readonly Taken[],
): Promise<Map<string, IngestAnswer>> {
  const { rows } = await tx.query<Omit<IngestAnswer, "repeated"> & { message_id: string }>(
    `select message_id, id as request, received, accepted, copies, rejected
       from holdfast.ingest_requests
      where tenant = $1 and source = $2 and message_id = any ($3)`,
    [tenant, source, messages.map(({ messageId }) => messageId)],
  );
  return new Map(
    rows.map(({ message_id, ...answer }) => [message_id, { ...answer, repeated: true }]),
  );
}

async function insertCopies(tx: Tx, taken: readonly Taken[]): Promise<void> {
  const rows = taken.flatMap(({ request, copies }) =>
    [...copies].map(([entity, n]) => ({ request, entity, n })),
  );
  if (rows.length === 0) return;
  await tx.query(
    `insert into holdfast.entity_copies (request, entity, n)
     select request, entity, n
       from unnest($1::uuid[], $2::bigint[], $3::int[]) as c(request, entity, n)`,
    [rows.map(({ request }) => request), rows.map(({ entity }) => entity), rows.map(({ n }) => n)],
  );
}

async function insertRejects(tx: Tx, tenant: string, taken: readonly Taken[]): Promise<void> {
  const rows = taken.flatMap(({ request, rejects }) =>
    rejects.map((reject) => ({ ...reject, request })),
  );
  if (rows.length === 0) return;
  await tx.query(
    `insert into holdfast.inbox_rejects (request, tenant, no, code, issues, raw)
     select request, $1, no, code, issues, raw
       from unnest($2::uuid[], $3::int[], $4::text[], $5::jsonb[], $6::bytea[])
              as r(request, no, code, issues, raw)`,
    [
      tenant,
      rows.map(({ request }) => request),
      rows.map(({ no }) => no),
      rows.map(({ code }) => code),
      rows.map(({ issues }) => JSON.stringify(issues)),
      rows.map(({ raw }) => (raw ? Buffer.from(raw) : null)),
    ],
  );
}

async function countRequests(tx: Tx, taken: readonly Taken[]): Promise<void> {
  if (taken.length === 0) return;
  await tx.query(
    `update holdfast.ingest_requests r
        set received = c.received, accepted = c.accepted, copies = c.copies, rejected = c.rejected
       from unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::int[])
              as c(id, received, accepted, copies, rejected)
      where r.id = c.id`,
    [
      taken.map(({ request }) => request),
      taken.map(({ counts }) => counts.received),
      taken.map(({ counts }) => counts.accepted),
      taken.map(({ counts }) => counts.copies),
      taken.map(({ counts }) => counts.rejected),
    ],
  );
}
