import { setImmediate } from "node:timers/promises";
import { InvalidInput, LimitExceeded, TooLarge } from "../contracts/errors.ts";
import {
  IngestHeader,
  INBOX_LIMITS,
  type EntityInput,
  type IngestAnswer,
} from "../contracts/inbox.ts";
import { ingestChunks, type InboxChunk, type Message, type Reject } from "../db/inbox.ts";
import { findMessage } from "../db/inbox-requests.ts";
import { registryOf, settingsOf } from "../db/inventory-settings.ts";
import { inSavepoint, type Queryable, type Tx } from "../db/pool.ts";
import type { InboxEntry } from "../domain/inbox-entry.ts";
import { assertTenant, defaultTenant, type Context } from "./context.ts";
import { assertRoom } from "./inbox-depth.ts";
import {
  linesIn,
  readInboxEntity,
  readInboxLine,
  type Read,
  type ReadOptions,
} from "./inbox-lines.ts";
import { inboxSpool } from "./inbox-spool.ts";
import { parseInput } from "./input.ts";

export interface IngestOptions extends IngestHeader {
  /**
   * The caller's own open transaction (anything with `query(text, values)`): nothing is taken in unless
   * it commits, and until then others wait who take in for the same branch. 40001 and 40P01 thrown from
   * it mean: run yours again.
   */
  tx?: Queryable;
}

/** A message of two million lines is one transaction, on any machine. */
const LARGE = { statementTimeoutMs: 300_000, lockTimeoutMs: 60_000 };
/** Entities between which the process may do something else. */
const AT_ONCE = 100;

export async function ingestEntities(
  context: Context,
  entities: readonly EntityInput[],
  options: IngestOptions,
): Promise<IngestAnswer> {
  if (!Array.isArray(entities)) {
    throw new InvalidInput([{ path: "entities", message: "must be a list of entities" }]);
  }
  if (entities.length > INBOX_LIMITS.entities) {
    const message = `are ${entities.length}, at most ${INBOX_LIMITS.entities} are taken in one call: send lines, or several calls`;
    throw new TooLarge("entities", message);
  }
  const incoming = await openMessage(context, options);
  const entries: InboxEntry[] = [];
  const rejects: Reject[] = [];
  for (const [at, value] of entities.entries()) {
    if (at % AT_ONCE === AT_ONCE - 1) await setImmediate();
    const read = incoming.admitted(readInboxEntity(incoming.reading, value, at + 1), at + 1);
    if (!read) continue;
    if ("entry" in read) entries.push(read.entry);
    else rejects.push(read.reject);
  }
  return take(context, incoming, options, chunksIn(entries, rejects));
}

export async function ingestLines(
  context: Context,
  source: AsyncIterable<Uint8Array | string>,
  options: IngestOptions,
): Promise<IngestAnswer> {
  const incoming = await openMessage(context, options);
  const early = await orRepeated(context, incoming, () =>
    assertRoom(context, incoming.message.tenant, 0),
  );
  if (early) return early;
  const spool = await inboxSpool();
  try {
    let bytes = 0;
    for await (const line of linesIn(source)) {
      if (line.no % AT_ONCE === AT_ONCE - 1) await setImmediate();
      bytes += line.length + 1;
      assertSize(line.no, bytes);
      const read = incoming.admitted(readInboxLine(incoming.reading, line), line.no);
      if (read) await spool.add(read);
    }
    return await take(context, incoming, options, spool.chunks());
  } finally {
    await spool.close();
  }
}

function assertSize(lines: number, bytes: number): void {
  const { lines: mostLines, uploadBytes } = INBOX_LIMITS;
  if (lines > mostLines) {
    throw new TooLarge(`line ${lines}`, `an upload holds at most ${mostLines} lines: split it`);
  }
  if (bytes > uploadBytes) {
    throw new TooLarge(`line ${lines}`, `an upload holds at most ${uploadBytes} bytes: split it`);
  }
}

/** A message on its way in. */
interface Incoming {
  message: Message;
  reading: ReadOptions;
  branches: Set<string | null>;
  entities: number;
  /** Notes of what branch it is; one that names too many of them is a reject. */
  admitted(read: Read, no: number): Read;
}

async function openMessage(context: Context, options: IngestOptions): Promise<Incoming> {
  const { tx: _, ...header } = options;
  const { tenant = defaultTenant(context), ...given } = parseInput(IngestHeader, header);
  assertTenant(context, tenant);
  const { db, config, actor } = context;
  const settings = await settingsOf(db, config, tenant);
  const branch = given.branch ?? settings.defaultBranch;
  const snapshot = given.snapshot;
  if (snapshot && branch === null) {
    const message = `is not known yet for tenant ${tenant}, and a snapshot is of one branch: name it`;
    throw new InvalidInput([{ path: "branch", message }]);
  }
  const branches = new Set<string | null>();
  const incoming: Incoming = {
    message: {
      tenant,
      branch,
      branchNow: async (tx) => (await settingsOf(tx, config, tenant)).defaultBranch,
      source: given.source,
      messageId: given.messageId,
      by: actor,
      snapshot,
    },
    reading: {
      registry: registryOf(config, settings.registry),
      snapshot: snapshot !== undefined,
      ...(snapshot && { onlyBranch: branch! }),
    },
    branches,
    entities: 0,
    admitted(read, no) {
      if (!read || "reject" in read) return read;
      const named = read.entry.branch ?? branch;
      if (!branches.has(named) && branches.size === INBOX_LIMITS.branches) {
        const message = `is one of more than ${INBOX_LIMITS.branches} in one message: send it in another`;
        const raw = Buffer.from(read.entry.text);
        return { reject: { no, code: "branch", issues: [{ path: "branch", message }], raw } };
      }
      branches.add(named);
      incoming.entities++;
      return read;
    },
  };
  return incoming;
}

async function take(
  context: Context,
  incoming: Incoming,
  { tx: callers }: IngestOptions,
  chunks: AsyncIterable<InboxChunk>,
): Promise<IngestAnswer> {
  const { message, branches, entities } = incoming;
  const early = await orRepeated(context, incoming, () =>
    assertRoom(context, message.tenant, entities),
  );
  if (early) return early;
  const work = (tx: Tx) => ingestChunks(tx, message, [...branches], chunks);
  if (!callers) return context.db.transaction(work, LARGE);
  const tx = context.db.within(callers);
  return inSavepoint(tx, () => work(tx));
}

/** A repeat of something taken before is answered even when there is no room for more. */
async function orRepeated(
  { db }: Context,
  { message }: Incoming,
  assert: () => Promise<void>,
): Promise<IngestAnswer | undefined> {
  try {
    await assert();
    return undefined;
  } catch (error) {
    if (!(error instanceof LimitExceeded) || message.messageId === undefined) throw error;
    const before = await findMessage(db, message);
    if (!before) throw error;
    return before;
  }
}

/** Entities of one statement. */
const AT_A_TIME = 2_500;

async function* chunksIn(
  entries: readonly InboxEntry[],
  rejects: readonly Reject[],
): AsyncGenerator<InboxChunk> {
  for (let from = 0; from < entries.length; from += AT_A_TIME) {
    yield { entries: entries.slice(from, from + AT_A_TIME) };
  }
  if (rejects.length > 0) yield { entries: [], rejects };
}
