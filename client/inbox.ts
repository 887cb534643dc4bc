import { setTimeout as sleep } from "node:timers/promises";
import { InvalidInput, NotFound, TimedOut } from "../contracts/errors.ts";
import {
  BranchName,
  EntityFilter,
  InboxEntityId,
  RejectFilter,
  Requeue,
  RequestFilter,
  RequestId,
  StatusFilter,
  type EntityDetail,
  type EntityInput,
  type EntityView,
  type InboxStatus,
  type IngestAnswer,
  type RejectView,
  type RequestDetail,
  type Requeued,
  type RequestView,
} from "../contracts/inbox.ts";
import type { Page } from "../contracts/operation.ts";
import type { StreamStatus } from "../contracts/stream.ts";
import { isStorableTime } from "../contracts/text.ts";
import { resolveBranch } from "../db/inbox-entities.ts";
import { findEntity, listEntities } from "../db/inbox-read.ts";
import { newestEntity, requeue } from "../db/inbox-requeue.ts";
import { findIngestRequest, listIngestRequests, listRejects } from "../db/inbox-requests.ts";
import { inboxStatus } from "../db/inbox-status.ts";
import { settingsOf } from "../db/inventory-settings.ts";
import { asking, assertTenant, defaultTenant, maySee, type Context } from "./context.ts";
import { ingestEntities, ingestLines, type IngestOptions } from "./inbox-ingest.ts";
import { parseInput } from "./input.ts";
import { streamStatus } from "./stream-status.ts";

/** How entities come in, what became of them, and another chance for those that failed. */
export interface InboxClient {
  /**
   * Takes up to 50,000 entities in, in their order, in one transaction, the caller's if one is given. What
   * is wrong with one is kept as a reject and told of it alone; its siblings land. With `messageId`, a
   * repeat is answered as the first time. With `snapshot`, what the scope held before is missing now.
   * @throws InvalidInput, TooLarge, LimitExceeded, Unavailable
   */
  ingest(entities: readonly EntityInput[], options?: IngestOptions): Promise<IngestAnswer>;
  /**
   * The same from NDJSON, one entity a line, up to 2,000,000 lines and 1 GiB, without holding them in
   * memory. The source is read to its end before the transaction begins: a dropped upload leaves nothing.
   */
  ingestLines(
    source: AsyncIterable<Uint8Array | string>,
    options?: IngestOptions,
  ): Promise<IngestAnswer>;
  /** One message, with what became of what it brought. @throws NotFound, InvalidInput */
  request(id: string): Promise<RequestDetail>;
  /** The same once nothing of it happens by itself any more. @throws TimedOut; by `signal`, an AbortError */
  wait(id: string, options?: WaitOptions): Promise<RequestDetail>;
  /** How the streams of the configuration stand, as their servers say now. REDIS_URL is of those that give no address. */
  streams(redisUrl?: string): Promise<StreamStatus[]>;
  /** Newest first, 50 a page unless `limit` (1 to 200) says otherwise. */
  requests(filter?: RequestFilter): Promise<Page<RequestView>>;
  /** What of a message could not be taken, in its order. @throws NotFound */
  rejects(request: string, filter?: RejectFilter): Promise<Page<RejectView>>;
  /** Branches in which something is to come, waits for a decision, or is held. */
  status(filter?: StatusFilter): Promise<InboxStatus[]>;
  /** Newest first, 50 a page unless `limit` (1 to 1,000) says otherwise. */
  list(filter?: EntityFilter): Promise<Page<EntityView>>;
  /** @throws NotFound, InvalidInput */
  get(entity: string): Promise<EntityDetail>;
  /**
   * Plans again what failed, gave up or waits for another try: up to 1,000 by id, or all that a filter finds. Safe to repeat.
   * Where a newer version came meanwhile, that one stands. @throws InvalidInput
   */
  requeue(which: Requeue): Promise<Requeued>;
  /** Entities that named no branch while none was known belong to this one. Answers how many. */
  resolveBranch(tenant: string, branch: string): Promise<number>;
}

interface WaitOptions {
  signal?: AbortSignal;
  /** Default: no bound. */
  timeoutMs?: number;
}

/** Counted at most, of each state of each branch. */
const COUNT_TO = 100_000;
/** Rows of one transaction of a requeue. */
const REQUEUE_PAGE = 10_000;

export function inboxClient(context: Context): InboxClient {
  const { db, tenants } = context;
  return {
    ingest: (entities, options = {}) => asking(() => ingestEntities(context, entities, options)),
    ingestLines: (source, options = {}) => asking(() => ingestLines(context, source, options)),
    request: (id) => asking(() => visibleRequest(context, id)),
    wait: (id, options = {}) => asking(() => waitFor(context, id, options)),
    requests: (filter = {}) =>
      asking(() => {
        const { after, ...asked } = parseInput(RequestFilter, filter);
        if (asked.tenant !== undefined) assertTenant(context, asked.tenant);
        return listIngestRequests(db, {
          ...asked,
          tenants,
          after: after === undefined ? undefined : placeIn(after),
        });
      }),
    rejects: (request, filter = {}) =>
      asking(async () => {
        const asked = parseInput(RejectFilter, filter);
        await visibleRequest(context, request);
        return listRejects(db, request, asked);
      }),
    status: (filter = {}) => asking(() => status(context, filter)),
    streams: async (redisUrl = process.env.REDIS_URL) => {
      const streams = await asking(() => streamStatus(context.config, redisUrl));
      return streams.filter(({ tenant }) => maySee(context, tenant));
    },
    list: (filter = {}) =>
      asking(() => {
        const asked = parseInput(EntityFilter, filter);
        if (asked.tenant !== undefined) assertTenant(context, asked.tenant);
        return listEntities(db, { ...asked, tenants });
      }),
    get: (id) =>
      asking(async () => {
        const entity = await findEntity(db, parseInput(InboxEntityId, id, "id"));
        if (entity && maySee(context, entity.tenant)) return entity;
        throw new NotFound("entity", id, 'see "holdfast inbox list" for those that are kept');
      }),
    requeue: (which) => asking(() => requeueAll(context, which)),
    resolveBranch: (tenant, branch) =>
      asking(() => {
        assertTenant(context, tenant);
        const name = parseInput(BranchName, branch, "branch");
        return resolveBranch(db, tenant, name);
      }),
  };
}

async function visibleRequest(context: Context, id: string): Promise<RequestDetail> {
  const found = await findIngestRequest(context.db, parseInput(RequestId, id, "id"));
  if (found && maySee(context, found.tenant)) return found;
  throw new NotFound("request", id, "the answer of an ingest names it; it is kept for 90 days");
}

/** A look costs as much as the request is large, so the pause grows with what a look takes. */
const FIRST_PAUSE_MS = 100;
const MOST_PAUSE_MS = 2_000;
const PAUSE_PER_LOOK = 5;

async function waitFor(
  context: Context,
  id: string,
  { signal, timeoutMs = Infinity }: WaitOptions,
): Promise<RequestDetail> {
  const until = performance.now() + timeoutMs;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(MOST_PAUSE_MS, pause * 1.5)) {
    signal?.throwIfAborted();
    const from = performance.now();
    const seen = await visibleRequest(context, id);
    if (seen.settled) return seen;
    const now = performance.now();
    if (now >= until) {
      const { queued = 0, planning = 0, applying = 0, pending_retry: retried = 0 } = seen.states;
      const open = queued + planning + applying + retried;
      throw new TimedOut(
        `request ${id} has ${open} entities to come after ${Math.round(timeoutMs / 1_000)} s: see that a worker runs and the branch is not held ("holdfast inbox status")`,
      );
    }
    const rest = Math.max(pause, (now - from) * PAUSE_PER_LOOK);
    await sleep(Math.min(rest, until - now), undefined, signal ? { signal } : {});
  }
}

function placeIn(cursor: string): { at: string; id: string } {
  const [at = "", id = ""] = cursor.split("/");
  if (isInstant(at) && RequestId.safeParse(id).success) return { at, id };
  throw new InvalidInput([{ path: "after", message: "must be the `next` of the page before" }]);
}

/** One that is in the calendar, as the database writes it. */
function isInstant(text: string): boolean {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/.test(text) || !isStorableTime(text)) return false;
  const time = new Date(text);
  return !Number.isNaN(time.getTime()) && time.toISOString().startsWith(text.slice(0, 23));
}

async function status(context: Context, filter: StatusFilter): Promise<InboxStatus[]> {
  const asked = parseInput(StatusFilter, filter);
  if (asked.tenant !== undefined) assertTenant(context, asked.tenant);
  const { db, config, tenants } = context;
  const standing = await inboxStatus(db, { ...asked, tenants }, COUNT_TO);
  const names = [...new Set(standing.map(({ tenant }) => tenant))];
  const settings = new Map(
    await Promise.all(
      names.map(async (tenant) => [tenant, await settingsOf(db, config, tenant)] as const),
    ),
  );
  return standing.map((one) => {
    const { target, mode } = settings.get(one.tenant)!;
    return { ...one, target, mode };
  });
}

async function requeueAll(context: Context, which: Requeue): Promise<Requeued> {
  const { tenant = defaultTenant(context), ...asked } = parseInput(Requeue, which);
  assertTenant(context, tenant);
  const total = { requeued: 0, passedOver: 0 };
  // What is taken in meanwhile is not meant.
  const upTo = await newestEntity(context.db);
  for (let after: string | undefined = "0"; after !== undefined;) {
    const page = await context.db.transaction((tx) =>
      requeue(tx, { ...asked, tenant, upTo }, context.actor, {
        after: after!,
        limit: REQUEUE_PAGE,
      }),
    );
    total.requeued += page.requeued;
    total.passedOver += page.passedOver;
    after = page.next;
  }
  if (asked.ids) total.passedOver = new Set(asked.ids).size - total.requeued;
  return total;
}
