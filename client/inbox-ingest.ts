import { setImmediate } from "node:timers/promises";
import { InvalidInput, LimitExceeded, TooLarge } from "../contracts/errors.ts";
import {
  IngestHeader,
  INBOX_LIMITS,
  type EntityInput,
  type IngestAnswer,
} from "../contracts/inbox.ts";
import {
  CHUNK,
  CHUNK_LENGTH,
  ingestChunks,
  type InboxChunk,
  type Message,
  type Reject,
} from "../db/inbox.ts";
import { isTaken } from "../db/inbox-requests.ts";
import { registryOf, settingsOf } from "../db/inventory-settings.ts";
import { inSavepoint, type Queryable, type Tx } from "../db/pool.ts";
import type { InboxEntry } from "../domain/inbox-entry.ts";
import { assertTenant, defaultTenant, type Context } from "./context.ts";
import { assertRoom } from "./inbox-depth.ts";
import {
  branchIn,
  branchInLine,
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
const AT_ONCE_BYTES = 1024 * 1024;

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
  for (const value of entities) incoming.expect(branchIn(value));
  async function* reads() {
    for (let from = 0; from < entities.length; from += AT_ONCE) {
      const some = entities.slice(from, from + AT_ONCE);
      yield some.map((value, at) => readInboxEntity(incoming.reading, value, from + at + 1));
      await setImmediate();
    }
  }
  return take(context, incoming, options, reads);
}

export async function ingestLines(
  context: Context,
  source: AsyncIterable<Uint8Array | string>,
  options: IngestOptions,
): Promise<IngestAnswer> {
  const incoming = await openMessage(context, options);
  await assertRoomOrTaken(context, incoming, 0);
  const spool = await inboxSpool();
  try {
    for await (const line of linesIn(spool.through(source))) {
      if (line.no > INBOX_LIMITS.lines) {
        const message = `an upload holds at most ${INBOX_LIMITS.lines} lines: split it`;
        throw new TooLarge(`line ${line.no}`, message);
      }
      incoming.expect(branchInLine(line));
    }
    async function* reads() {
      let some: Read[] = [];
      let bytes = 0;
      for await (const line of linesIn(spool.kept())) {
        some.push(readInboxLine(incoming.reading, line));
        bytes += line.bytes.length;
        if (some.length < AT_ONCE && bytes < AT_ONCE_BYTES) continue;
        yield some;
        some = [];
        bytes = 0;
        await setImmediate();
      }
      yield some;
    }
    return await take(context, incoming, options, reads);
  } finally {
    await spool.close();
  }
}

/** A message on its way in. */
class Incoming {
  /** Entities that may come. */
  entities = 0;
  readonly message: Message;
  readonly reading: ReadOptions;
  readonly #named = new Set<string | null>();

  constructor(message: Message, reading: ReadOptions) {
    this.message = message;
    this.reading = reading;
  }

  /** Notes that there is an entity of a branch, or nothing but what looks like one. */
  expect(branch: string | undefined): void {
    this.entities++;
    if (this.#named.size > INBOX_LIMITS.branches) return;
    this.#named.add(branch ?? this.message.branch);
  }

  /**
   * Branches of its entities, which have to be owned before the first is written. Where too many are
   * named, all is read to find the first of them that count.
   */
  async branches(reads: Reads): Promise<ReadonlySet<string | null>> {
    const { snapshot, branch } = this.message;
    if (snapshot) return new Set([branch]);
    if (this.#named.size <= INBOX_LIMITS.branches) return this.#named;
    const first = new Set<string | null>();
    for await (const some of reads()) {
      for (const read of some) {
        if (first.size === INBOX_LIMITS.branches) return first;
        if (read && "entry" in read) first.add(read.entry.branch ?? branch);
      }
    }
    return first;
  }

  /** Its entities, read while what comes before them is written. One of another branch is a reject. */
  async *chunks(reads: Reads, branches: ReadonlySet<string | null>): AsyncGenerator<InboxChunk> {
    let entries: InboxEntry[] = [];
    let rejects: Reject[] = [];
    let [no, size, length] = [0, FIRST_CHUNK, 0];
    for await (const some of reads()) {
      for (const read of some) {
        no++;
        if (!read) continue;
        if ("reject" in read) rejects.push(read.reject);
        else if (branches.has(read.entry.branch ?? this.message.branch)) {
          entries.push(read.entry);
          length += read.entry.text.length;
        } else rejects.push(oneBranchTooMany(no, read.entry));
      }
      const full = entries.length + rejects.length + AT_ONCE > size;
      if (!full && length < CHUNK_LENGTH) continue;
      yield { entries, rejects };
      [entries, rejects, length] = [[], [], 0];
      size = Math.min(2 * size, CHUNK);
    }
    if (entries.length + rejects.length > 0) yield { entries, rejects };
  }
}

/** All of it, some at a time; can be read more than once. */
type Reads = () => AsyncIterable<readonly Read[]>;

/** Few, so that the database soon has something to do. */
const FIRST_CHUNK = CHUNK / 5;

function oneBranchTooMany(no: number, { text }: InboxEntry): Reject {
  const message = `is one of more than ${INBOX_LIMITS.branches} in one message: send it in another`;
  return { no, code: "branch", issues: [{ path: "branch", message }], raw: Buffer.from(text) };
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
  const message = {
    tenant,
    branch,
    branchNow: async (tx: Tx) => (await settingsOf(tx, config, tenant)).defaultBranch,
    source: given.source,
    messageId: given.messageId,
    namedBranch: given.branch,
    by: actor,
    snapshot,
  };
  return new Incoming(message, {
    registry: registryOf(config, settings.registry),
    snapshot: snapshot !== undefined,
    ...(snapshot && { onlyBranch: branch! }),
  });
}

async function take(
  context: Context,
  incoming: Incoming,
  { tx: callers }: IngestOptions,
  reads: Reads,
): Promise<IngestAnswer> {
  const { message, entities } = incoming;
  await assertRoomOrTaken(context, incoming, entities);
  const branches = await incoming.branches(reads);
  const work = (tx: Tx) =>
    ingestChunks(tx, message, [...branches], incoming.chunks(reads, branches));
  if (!callers) return context.db.transaction(work, LARGE);
  const tx = context.db.within(callers);
  return inSavepoint(tx, () => work(tx));
}

/** A repeat of something taken before is answered even when there is no room for more. */
async function assertRoomOrTaken(
  context: Context,
  { message }: Incoming,
  entities: number,
): Promise<void> {
  try {
    await assertRoom(context, message.tenant, entities);
  } catch (error) {
    if (!(error instanceof LimitExceeded) || message.messageId === undefined) throw error;
    if (!(await isTaken(context.db, message))) throw error;
  }
}
