import { oldestQueuedSeconds } from "../db/inbox-backlog.ts";
import { countQueued } from "../db/inbox-depth.ts";
import { add, type StreamSource, type StreamTaken } from "../db/inbox-stream.ts";
import { registryOf, settingsOf } from "../db/inventory-settings.ts";
import type { Redis } from "../db/redis.ts";
import { consumersOf, ensureGroup, groupLag, removeConsumer } from "../db/stream-group.ts";
import type { Consumer } from "./stream.ts";

/** What a consumer has to know of its surroundings; looked at about once a second. */
export interface StreamWatch {
  /** Reading rests: the inbox of the tenant is full. */
  readonly paused: boolean;
  look(): Promise<void>;
  source(): StreamSource;
  registry(): ReturnType<typeof registryOf>;
  /** How many messages are likely to hold so many rows. */
  messagesFor(rows: number): number;
  read(messages: number, rows: number): void;
  taken(taken: StreamTaken): void;
}

const LOOK_EVERY_MS = 1_000;
/** Counting a deep inbox takes a while, and is to take little of all time. */
const LOOK_SHARE = 20;
const TELL_EVERY_MS = 60_000;
/** A consumer that has nothing in hand and has not asked for so long is forgotten. */
const FORGET_AFTER_MS = 3_600_000;
const MOST_QUEUED = 1_000_000;
/** Of the limit: down to here reading rests, so that it does not stop and go with every batch planned. */
const GO_ON_BELOW = 0.8;

export async function watchStream(consumer: Consumer, redis: Redis): Promise<StreamWatch> {
  const { db, config, stream, name, log, metrics, pressure } = consumer;
  const where = { stream: stream.stream, group: stream.group };
  const mostQueued = config.inventory?.maxQueued ?? MOST_QUEUED;
  let settings = await settingsOf(db, config, stream.tenant);
  let paused = false;
  let blind = false;
  let lookAt = 0;
  let countAt = 0;
  let tellAt = performance.now() + TELL_EVERY_MS;
  let rowsEach = 1;
  let sum: StreamTaken = { messages: 0, accepted: 0, copies: 0, rejected: 0 };
  let stood: { lag: number; pending: number } = { lag: 0, pending: 0 };

  async function lookAtStream(): Promise<void> {
    const found = await groupLag(redis, stream);
    if (!found) await ensureGroup(redis, stream);
    stood = found ?? { lag: 0, pending: 0 };
    metrics?.lag(stream, stood);
    const key = `${stream.url} ${stream.stream} ${stream.group}`;
    const changed = pressure.observe(key, stood.lag + stood.pending, stream);
    if (changed === "up") log.warn({ ...where, ...stood }, "the stream lags; planning takes turns");
    if (changed === "down") log.info({ ...where, ...stood }, "the stream has caught up");
  }

  /** Without Postgres it stays as it is, and whoever writes waits. */
  async function tryLookAtInbox(): Promise<void> {
    try {
      await lookAtInbox();
      blind = false;
    } catch (error) {
      if (!blind) log.warn({ ...where, err: error }, "the inbox cannot be counted now");
      blind = true;
    }
  }

  async function lookAtInbox(): Promise<void> {
    const startedAt = performance.now();
    settings = await settingsOf(db, config, stream.tenant);
    const queued = await countQueued(db, stream.tenant, mostQueued);
    const ageSeconds =
      stream.maxInboxAgeSeconds > 0 ? await oldestQueuedSeconds(db, stream.tenant) : 0;
    const tookMs = performance.now() - startedAt;
    countAt = performance.now() + Math.max(LOOK_EVERY_MS, tookMs * LOOK_SHARE);
    const mostAge = stream.maxInboxAgeSeconds || Infinity;
    const now = paused
      ? queued >= mostQueued * GO_ON_BELOW || ageSeconds >= mostAge * GO_ON_BELOW
      : queued >= mostQueued || ageSeconds >= mostAge;
    if (now !== paused) {
      const what = { ...where, tenant: stream.tenant, queued, ageSeconds, mostQueued, ...stood };
      if (now) log.warn(what, "the inbox is full; the stream keeps what comes");
      else log.info(what, "the inbox has room again; the stream is read on");
    }
    paused = now;
    metrics?.paused(stream, paused);
  }

  async function tell(): Promise<void> {
    const consumers = await consumersOf(redis, stream);
    for (const other of consumers) {
      if (other.name === name || other.pending > 0 || other.idleMs < FORGET_AFTER_MS) continue;
      await removeConsumer(redis, stream, other.name);
    }
    if (sum.messages > 0 || stood.lag + stood.pending > 0) {
      log.info({ ...where, ...stood, ...sum, paused, consumers: consumers.length }, "stream");
    }
    sum = { messages: 0, accepted: 0, copies: 0, rejected: 0 };
  }

  return {
    get paused() {
      return paused;
    },
    async look() {
      const now = performance.now();
      if (now < lookAt) return;
      lookAt = now + LOOK_EVERY_MS;
      await lookAtStream();
      if (now >= countAt) await tryLookAtInbox();
      if (now < tellAt) return;
      tellAt = now + TELL_EVERY_MS;
      await tell();
    },
    source: () => ({
      tenant: stream.tenant,
      branch: stream.branch ?? settings.defaultBranch,
      stream: stream.stream,
    }),
    registry: () => registryOf(config, settings.registry),
    messagesFor: (rows) => Math.min(stream.count, Math.max(1, Math.ceil(rows / rowsEach))),
    read(messages, rows) {
      rowsEach = Math.max(1, rows / messages);
    },
    taken(taken) {
      add(sum, taken);
      metrics?.taken(stream, taken);
    },
  };
}
