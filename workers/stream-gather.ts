import { decodeMessage, type IncomingMessage } from "../db/inbox-stream.ts";
import type { Redis } from "../db/redis.ts";
import { readNew } from "../db/stream-group.ts";
import type { StreamWatch } from "./stream-watch.ts";
import type { Consumer } from "./stream.ts";

/** How long a read waits for the first message. */
const WAIT_MS = 1_000;
/** While a group is being written there is no hurry with the next. */
const WHILE_WRITING_MS = 10;

/**
 * New messages, decoded: all that come within a moment after the first, or while others are `writing`,
 * until they hold enough for one transaction. Nothing when none comes, or on `stop`.
 */
export async function gather(
  { stream, name }: Consumer,
  reader: Redis,
  watch: StreamWatch,
  writing: () => boolean,
  stop: AbortSignal,
): Promise<IncomingMessage[]> {
  const messages: IncomingMessage[] = [];
  let rows = 0;
  let until = Infinity;
  while (!stop.aborted && rows < stream.coalesceRows) {
    const leftMs = Math.max(until - performance.now(), writing() ? WHILE_WRITING_MS : 0);
    if (leftMs <= 0) break;
    const read = await readNew(reader, stream, name, {
      // What is read and not needed yet lies in memory.
      count: watch.messagesFor(stream.coalesceRows - rows),
      blockMs: Math.min(leftMs, WAIT_MS),
    }).catch((error: unknown) => {
      if (stop.aborted) return [];
      throw error;
    });
    if (read.length === 0 && (messages.length === 0 || !writing())) break;
    if (read.length === 0) continue;
    until = Math.min(until, performance.now() + stream.coalesceMs);
    for (const message of read) {
      const decoded = await decodeMessage(watch.registry(), message, stream.maxMessageBytes);
      messages.push(decoded);
      rows += rowsOf(decoded);
    }
    watch.read(read.length, rows);
  }
  return messages;
}

/** Messages in their order, in groups of as many rows as one transaction is to have; a larger one is alone. */
export function* groupsOf(
  messages: readonly IncomingMessage[],
  mostRows: number,
): Generator<IncomingMessage[]> {
  let group: IncomingMessage[] = [];
  let rows = 0;
  for (const message of messages) {
    if (group.length > 0 && rows + rowsOf(message) > mostRows) {
      yield group;
      [group, rows] = [[], 0];
    }
    group.push(message);
    rows += rowsOf(message);
  }
  if (group.length > 0) yield group;
}

// A message costs something of its own.
function rowsOf({ entries, rejects }: IncomingMessage): number {
  return entries.length + rejects.length + 1;
}
