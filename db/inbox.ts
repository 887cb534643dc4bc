import { setImmediate } from "node:timers/promises";
import { v7 as uuidv7 } from "uuid";
import type { IngestAnswer, SnapshotAnswer } from "../contracts/inbox.ts";
import type { Entity } from "../contracts/inventory.ts";
import { inboxEntry, type InboxEntry } from "../domain/inbox-entry.ts";
import type { Registry } from "../domain/registry.ts";
import { createCopies, takeIn, type Place } from "./inbox-entities.ts";
import { createMessageDigest } from "./inbox-digest.ts";
import {
  countRequest,
  findRepeated,
  insertRejects,
  insertRequest,
  type Reject,
} from "./inbox-requests.ts";
import { beginScope, endScope, seeMembers, type Snapshot } from "./inbox-scopes.ts";
import { ownInboxes } from "./locks.ts";
import type { Tx } from "./pool.ts";

export type { IngestAnswer } from "../contracts/inbox.ts";
export type { Reject } from "./inbox-requests.ts";

/** The inbox: entities are taken in once, and what was said already is counted. */

export interface Message {
  tenant: string;
  /** What entities that name no branch belong to; null: that is not known yet. */
  branch: string | null;
  /** Asked again where it was not known, when nobody can make it known any more until this is committed. */
  branchNow?: ((tx: Tx) => Promise<string | null>) | undefined;
  /** Where they come from: `http`, `file`, a stream's name. */
  source: string;
  /** What the source calls this message. A repeat of it is answered and changes nothing. */
  messageId?: string | undefined;
  /** Where entities without a branch are said to belong, if the message says so. */
  namedBranch?: string | undefined;
  /** Who sent it. */
  by?: string | undefined;
  /** The message is everything there is in a scope of its branch. */
  snapshot?: Snapshot | undefined;
}

export interface Ingest extends Message {
  entities: readonly Entity[];
  rejects?: readonly Reject[] | undefined;
}

/** Rows of one statement. */
export const CHUNK = 2_500;
/** Characters of their fields, unless one alone has more. */
export const CHUNK_LENGTH = 8 * 1024 * 1024;

/** What of a message is written next. */
export interface InboxChunk {
  entries: readonly InboxEntry[];
  rejects?: readonly Reject[] | undefined;
}

/**
 * Takes entities in, in their order, as part of the given transaction: all of a message or nothing of
 * it. Others who take in for the same branch wait until it ends, so keep it short.
 */
export async function ingest(tx: Tx, registry: Registry, given: Ingest): Promise<IngestAnswer> {
  const { entities, rejects = [], ...message } = given;
  const branches = [...new Set(entities.map(({ branch }) => branch ?? given.branch))];
  return ingestChunks(tx, message, branches, chunksOf(registry, entities, rejects, given));
}

/**
 * The same of a message that comes in chunks of at most `CHUNK` entries. The next chunk is asked for while
 * the database writes the one before. `branches`: every branch that one of them belongs to.
 * @throws Conflict when the message was taken before, and said something else
 */
export async function ingestChunks(
  tx: Tx,
  given: Message,
  branches: readonly (string | null)[],
  chunks: AsyncIterable<InboxChunk>,
): Promise<IngestAnswer> {
  const request = uuidv7();
  const digest = given.messageId === undefined ? undefined : createMessageDigest(given);
  if (!(await insertRequest(tx, request, given))) {
    for await (const chunk of chunks) digest!.add(chunk);
    return findRepeated(tx, given, digest!.end());
  }
  const message = await ownPlaces(tx, given, branches);
  const { tenant, snapshot } = message;
  const scope =
    snapshot && (await beginScope(tx, { tenant, branch: message.branch, request }, snapshot));

  const copies = createCopies();
  const counts = { accepted: 0, rejected: 0 };
  const reader = chunks[Symbol.asyncIterator]();
  let next = await reader.next();
  while (!next.done) {
    const { entries, rejects = [] } = next.value;
    digest?.add(next.value);
    const writing = (async () => {
      for (const [branch, group] of byBranch(entries, message.branch)) {
        const place: Place = { tenant, branch, request };
        const { accepted, named } = await takeIn(tx, place, group, copies);
        counts.accepted += accepted;
        if (scope) await seeMembers(tx, scope, group, named);
      }
      await insertRejects(tx, tenant, request, rejects);
      counts.rejected += rejects.length;
      await copies.flush(tx, request, { all: false });
    })();
    // Whichever fails, the other one is over before the transaction is.
    const [written, read] = await Promise.allSettled([writing, reader.next()]);
    if (written.status === "rejected") throw written.reason;
    if (read.status === "rejected") throw read.reason;
    next = read.value;
  }
  await copies.flush(tx, request, { all: true });
  const { accepted, rejected } = counts;
  const ended: SnapshotAnswer | undefined =
    scope && (await endScope(tx, scope, { whole: rejected === 0 }));
  const received = accepted + copies.total + rejected;
  const taken = { received, accepted, copies: copies.total, rejected };
  await countRequest(tx, request, {
    ...taken,
    missing: ended?.missing ?? null,
    digest: digest?.end(),
  });
  return { request, repeated: false, ...taken, ...(ended && { snapshot: ended }) };
}

async function ownPlaces(
  tx: Tx,
  message: Message,
  branches: readonly (string | null)[],
): Promise<Message> {
  const { tenant, branch, snapshot, branchNow } = message;
  const all = snapshot ? [...branches, branch] : branches;
  await ownInboxes(tx, tenant, all);
  if (branch !== null || !branchNow || !all.includes(null)) return message;
  const known = await branchNow(tx);
  if (known !== null) await ownInboxes(tx, tenant, [known]);
  return { ...message, branch: known };
}

function byBranch(
  entries: readonly InboxEntry[],
  fallback: string | null,
): Iterable<[string | null, readonly InboxEntry[]]> {
  const first = entries[0]?.branch;
  // Nearly always they are all of one branch.
  if (entries.every(({ branch }) => branch === first)) {
    return entries.length > 0 ? [[first ?? fallback, entries]] : [];
  }
  const groups = new Map<string | null, InboxEntry[]>();
  for (const entry of entries) {
    const branch = entry.branch ?? fallback;
    const group = groups.get(branch);
    if (group) group.push(entry);
    else groups.set(branch, [entry]);
  }
  return groups;
}

/** Entities between which the process may do something else. */
const AT_ONCE = 250;

async function* chunksOf(
  registry: Registry,
  entities: readonly Entity[],
  rejects: readonly Reject[],
  { snapshot }: Message,
): AsyncGenerator<InboxChunk> {
  let entries: InboxEntry[] = [];
  let length = 0;
  for (const [at, entity] of entities.entries()) {
    if (at % AT_ONCE === AT_ONCE - 1) await setImmediate();
    const entry = inboxEntry(registry, entity, snapshot !== undefined);
    entries.push(entry);
    length += entry.text.length;
    if (entries.length < CHUNK && length < CHUNK_LENGTH) continue;
    yield { entries };
    entries = [];
    length = 0;
  }
  if (entries.length > 0 || rejects.length > 0) yield { entries, rejects };
}
