import type { StreamConsumer, StreamSettings } from "../contracts/stream.ts";
import type { Redis } from "./redis.ts";

/** One consumer group of one Redis stream: what is asked of the server, and nothing of what it means. */

export type GroupKey = Pick<StreamSettings, "stream" | "group">;

export interface StreamMessage {
  id: string;
  fields: Readonly<Record<string, Buffer>>;
}

export interface PendingMessage {
  id: string;
  consumer: string;
  /** How often it was handed out, this time included. */
  deliveries: number;
}

/** Makes the group, and the stream, unless they are there; entries that were there before are its own. */
export async function ensureGroup(redis: Redis, { stream, group }: GroupKey): Promise<void> {
  try {
    await redis.xGroupCreate(stream, group, "0", { MKSTREAM: true });
  } catch (error) {
    if (!said(error, "BUSYGROUP")) throw error;
  }
}

/** Whether an error says that stream or group are gone, as after FLUSHALL or a failover that lost them. */
export function isGroupGone(error: unknown): boolean {
  return said(error, "NOGROUP");
}

/** What nobody has read yet, oldest first. Waits up to `blockMs` for the first; 0: not at all. */
export async function readNew(
  redis: Redis,
  { stream, group }: GroupKey,
  consumer: string,
  { count, blockMs }: { count: number; blockMs: number },
): Promise<StreamMessage[]> {
  const reply = await redis.xReadGroup(
    group,
    consumer,
    { key: stream, id: ">" },
    { COUNT: count, ...(blockMs > 0 && { BLOCK: Math.ceil(blockMs) }) },
  );
  const [read] = (reply as { messages: Raw[] }[] | null) ?? [];
  return messagesOf(read?.messages ?? []);
}

/** What was handed out and not taken, oldest first: of one consumer, or idle for so long at any. */
export async function findPending(
  redis: Redis,
  { stream, group }: GroupKey,
  of: { consumer: string } | { idleMs: number },
  count: number,
): Promise<PendingMessage[]> {
  const how = "consumer" in of ? { consumer: of.consumer } : { IDLE: of.idleMs };
  const rows = await redis.xPendingRange(stream, group, "-", "+", count, how);
  return rows.map(({ id, consumer, deliveriesCounter }) => ({
    id: String(id),
    consumer: String(consumer),
    deliveries: Number(deliveriesCounter),
  }));
}

/** Hands messages to this consumer, unless another one was handed them within `idleMs`. Counts as a delivery. */
export async function claimMessages(
  redis: Redis,
  { stream, group }: GroupKey,
  consumer: string,
  ids: readonly string[],
  idleMs: number,
): Promise<StreamMessage[]> {
  const reply = await redis.xClaim(stream, group, consumer, idleMs, [...ids]);
  return messagesOf((reply as (Raw | null)[]).filter((raw) => raw !== null));
}

/**
 * Says that they are still in hand, so that nobody takes them over. No delivery.
 * @param how `forgiven`: what was delivered of them is not held against them
 */
export async function keepMessages(
  redis: Redis,
  { stream, group }: GroupKey,
  consumer: string,
  ids: readonly string[],
  how: { forgiven?: boolean } = {},
): Promise<void> {
  const options = how.forgiven ? { RETRYCOUNT: 0 } : {};
  await redis.xClaimJustId(stream, group, consumer, 0, [...ids], options);
}

/** They are committed: acknowledges and deletes them, both or neither. */
export async function settleMessages(
  redis: Redis,
  { stream, group }: GroupKey,
  ids: readonly string[],
): Promise<void> {
  await redis
    .multi()
    .xAck(stream, group, [...ids])
    .xDel(stream, [...ids])
    .exec();
}

/** What nobody has read, and what somebody has and did not take; null: there is no such group. */
export async function groupLag(
  redis: Redis,
  { stream, group }: GroupKey,
): Promise<{ lag: number; pending: number } | null> {
  const groups = await redis.xInfoGroups(stream).catch((error: unknown) => {
    if (said(error, "ERR no such key")) return [];
    throw error;
  });
  const found = groups.find(({ name }) => String(name) === group);
  if (!found) return null;
  const pending = Number(found.pending);
  const known = found.lag as number | null;
  if (known !== null) return { lag: known, pending };
  // The server does not know when entries that nobody had read were deleted.
  const lag = await redis.eval(UNREAD, {
    keys: [stream],
    arguments: [String(found["last-delivered-id"]), String(MOST_COUNTED)],
  });
  return { lag: Number(lag), pending };
}

/** Enough to know that a stream lags. */
const MOST_COUNTED = 1_000;
const UNREAD = `return #redis.call("xrange", KEYS[1], "(" .. ARGV[1], "+", "count", ARGV[2])`;

export async function consumersOf(
  redis: Redis,
  { stream, group }: GroupKey,
): Promise<StreamConsumer[]> {
  const rows = await redis.xInfoConsumers(stream, group);
  return rows.map(({ name, pending, idle }) => ({
    name: String(name),
    pending: Number(pending),
    idleMs: Number(idle),
  }));
}

/**
 * Takes a consumer out of the group when it has nothing in hand; with something in hand it stays, for that
 * would be handed to nobody any more.
 */
export async function removeConsumer(
  redis: Redis,
  { stream, group }: GroupKey,
  consumer: string,
): Promise<void> {
  await redis.eval(REMOVE_CONSUMER, { keys: [stream], arguments: [group, consumer] });
}

const REMOVE_CONSUMER = `
if #redis.call("xpending", KEYS[1], ARGV[1], "-", "+", 1, ARGV[2]) == 0 then
  return redis.call("xgroup", "delconsumer", KEYS[1], ARGV[1], ARGV[2])
end`;

interface Raw {
  id: unknown;
  message: Record<string, Buffer>;
}

function messagesOf(rows: readonly Raw[]): StreamMessage[] {
  return rows.map(({ id, message }) => ({ id: String(id), fields: message }));
}

function said(error: unknown, what: string): boolean {
  return error instanceof Error && error.message.startsWith(what);
}
