import { patiently } from "../activities/patience.ts";
import {
  decodeMessage,
  rejectedMessage,
  takeMessages,
  type IncomingMessage,
} from "../db/inbox-stream.ts";
import { closeRedis, openRedis, type Redis } from "../db/redis.ts";
import {
  claimMessages,
  ensureGroup,
  findPending,
  keepMessages,
  removeConsumer,
  settleMessages,
  type PendingMessage,
} from "../db/stream-group.ts";
import { gather, groupsOf } from "./stream-gather.ts";
import { untilOver } from "./stream-stop.ts";
import { watchStream, type StreamWatch } from "./stream-watch.ts";
import type { Consumer } from "./stream.ts";

export interface Ends {
  /** No more is read. */
  stop: AbortSignal;
  /** What is being written is left to others. */
  giveUp: AbortSignal;
  /** Called with every message taken: whatever failed before is over. */
  well: () => void;
}

const PAUSED_MS = 250;

/**
 * Reads and takes until `stop`: what this consumer was handed before, then what is new; now and then what
 * another one was handed and has left lying.
 * @throws what Redis or Postgres says; what is in hand is handed out again later
 */
export async function consume(consumer: Consumer, ends: Ends): Promise<void> {
  const { stream, name } = consumer;
  const redis = openRedis(stream.url, `holdfast ${name}`);
  // Waiting for messages blocks a connection.
  const reader = openRedis(stream.url, `holdfast ${name}, reading`);
  const closeReader = () => closeRedis(reader);
  ends.stop.addEventListener("abort", closeReader, { once: true });
  const hands = handsOf(consumer, redis, ends);
  try {
    await Promise.all([redis.connect(), reader.connect()]);
    await ensureGroup(redis, stream);
    const watch = await watchStream(consumer, redis);
    hands.watch = watch;
    await recover(consumer, redis, hands);
    let claimAt = 0;
    while (!ends.stop.aborted) {
      await watch.look();
      if (performance.now() >= claimAt) {
        await hands.empty();
        await takeOverIdle(consumer, redis, hands);
        claimAt = performance.now() + stream.claimIdleMs / 2;
      }
      if (watch.paused) {
        await untilOver(PAUSED_MS, ends.stop);
        continue;
      }
      const messages = await gather(consumer, reader, watch, hands.writing, ends.stop);
      for (const group of groupsOf(messages, stream.coalesceRows)) await hands.take(group);
    }
    await hands.empty();
    await removeConsumer(redis, stream, name);
  } finally {
    ends.stop.removeEventListener("abort", closeReader);
    await hands.empty().catch(() => undefined);
    closeReader();
    closeRedis(redis);
  }
}

interface Hands {
  watch: StreamWatch | undefined;
  /** Has a group written, as soon as the one before is. */
  take(messages: readonly IncomingMessage[]): Promise<void>;
  /** Whether a group is being written. */
  writing(): boolean;
  /** Waits until everything in hand is written. */
  empty(): Promise<void>;
}

/** One group is written while the next is read, in their order. */
function handsOf(consumer: Consumer, redis: Redis, ends: Ends): Hands {
  let writing = Promise.resolve();
  let busy = 0;
  const hands: Hands = {
    watch: undefined,
    async take(messages) {
      await writing;
      if (messages.length === 0) return;
      busy++;
      writing = write(consumer, redis, ends, hands.watch!, messages).finally(() => busy--);
      // Whoever comes next hears of it.
      writing.catch(() => undefined);
    },
    writing: () => busy > 0,
    empty: () => writing,
  };
  return hands;
}

/** Commits, then acknowledges and deletes. Postgres may be away for as long as it takes. */
async function write(
  consumer: Consumer,
  redis: Redis,
  ends: Ends,
  watch: StreamWatch,
  messages: readonly IncomingMessage[],
): Promise<void> {
  const { db, stream, name, log } = consumer;
  const ids = messages.map(({ id }) => id);
  const keep = (how = {}) => keepMessages(redis, stream, name, ids, how).catch(() => undefined);
  const keeping = setInterval(() => void keep(), stream.claimIdleMs / 3);
  try {
    const taken = await patiently(ends.giveUp, async (failures) => {
      try {
        return await takeMessages(db, watch.source(), messages);
      } catch (error) {
        if (Math.log2(failures + 1) % 1 === 0) {
          log.warn({ stream: stream.stream, failures, err: error }, "messages wait for Postgres");
        }
        // That is no fault of theirs.
        await keep({ forgiven: true });
        throw error;
      }
    });
    await settleMessages(redis, stream, ids);
    watch.taken(taken);
    ends.well();
  } finally {
    clearInterval(keeping);
  }
}

/** What this consumer was handed in an earlier life. */
async function recover(consumer: Consumer, redis: Redis, hands: Hands): Promise<void> {
  const { stream, name } = consumer;
  for (;;) {
    const pending = await findPending(redis, stream, { consumer: name }, stream.count);
    if (pending.length === 0) return;
    await takeOver(consumer, redis, hands, pending, 0);
  }
}

async function takeOverIdle(consumer: Consumer, redis: Redis, hands: Hands): Promise<void> {
  const { stream, log } = consumer;
  const idleMs = stream.claimIdleMs;
  const pending = await findPending(redis, stream, { idleMs }, stream.count);
  if (pending.length === 0) return;
  const from = [...new Set(pending.map(({ consumer }) => consumer))];
  log.info({ stream: stream.stream, messages: pending.length, from }, "messages are taken over");
  await takeOver(consumer, redis, hands, pending, idleMs);
}

/**
 * What was left once is taken together. What was left more often may be what ends whoever takes it: it is
 * taken alone, so that nothing else is charged with it, and at last put aside.
 */
async function takeOver(
  consumer: Consumer,
  redis: Redis,
  hands: Hands,
  pending: readonly PendingMessage[],
  idleMs: number,
): Promise<void> {
  const { stream, name } = consumer;
  const watch = hands.watch!;
  const decode = (id: string[]) => claimMessages(redis, stream, name, id, idleMs);
  const once = pending.filter(({ deliveries }) => deliveries <= 1).map(({ id }) => id);
  const often = pending.filter(({ deliveries }) => deliveries > 1);
  if (once.length > 0) {
    const messages: IncomingMessage[] = [];
    for (const message of await decode(once)) {
      messages.push(await decodeMessage(watch.registry(), message, stream.maxMessageBytes));
    }
    for (const group of groupsOf(messages, stream.coalesceRows)) await hands.take(group);
    await hands.empty();
  }
  for (const { id, deliveries } of often) {
    for (const message of await decode([id])) {
      const why = `was delivered ${deliveries} times and never taken: look for what ends the workers that read it`;
      const incoming =
        deliveries >= stream.maxDeliveries
          ? rejectedMessage(message, "delivered-too-often", why)
          : await decodeMessage(watch.registry(), message, stream.maxMessageBytes);
      await hands.take([incoming]);
      await hands.empty();
    }
  }
}
