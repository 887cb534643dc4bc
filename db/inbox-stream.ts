import { createHash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { promisify } from "node:util";
import { brotliDecompress, gunzip } from "node:zlib";
import { classify } from "../domain/faults.ts";
import {
  readMessage,
  timeOfNanoseconds,
  undecodable,
  type MessageReading,
  type MessageReject,
} from "../domain/stream-message.ts";
import type { Registry } from "../domain/registry.ts";
import { ingestGroup, type GroupMessage } from "./inbox-group.ts";
import type { Db } from "./pool.ts";
import type { StreamMessage } from "./stream-group.ts";

/** Messages of a stream on their way into the inbox. */

export interface IncomingMessage extends GroupMessage {
  /** Of the entry in its stream. */
  id: string;
  /** `request` as it came. */
  raw: Buffer;
}

/** More of what cannot be read is not kept; who sends as much in one message has it still. */
const MOST_KEPT_BYTES = 32 * 1024 ** 2;

export interface StreamSource {
  tenant: string;
  /** Of entities that name none; null: not known yet. */
  branch: string | null;
  stream: string;
}

const DECODERS: Readonly<Record<string, typeof gunzip>> = {
  br: brotliDecompress,
  gzip: gunzip,
};

/**
 * Reads a message with all its entities. One that cannot be read becomes a reject, raw; never throws.
 * @param maxBytes bound on the message, uncompressed
 */
export async function decodeMessage(
  registry: Registry,
  { id, fields }: StreamMessage,
  maxBytes: number,
): Promise<IncomingMessage> {
  const raw = fields["request"] ?? Buffer.alloc(0);
  const reading = await readWhole(registry, fields, maxBytes);
  const rejects = reading.rejects.map((reject) =>
    reject.code === "undecodable" ? { ...reject, raw: kept(raw) } : reject,
  );
  return { id, raw, messageId: messageIdOf(id, raw), entries: reading.entries, rejects };
}

/** A message that is put aside without another look. */
export function rejectedMessage(
  { id, fields }: StreamMessage,
  code: string,
  why: string,
): IncomingMessage {
  const raw = fields["request"] ?? Buffer.alloc(0);
  const issues = [{ path: "request", message: why }];
  const reject: MessageReject = { no: 1, code, issues, raw: kept(raw) };
  return { id, raw, messageId: messageIdOf(id, raw), entries: [], rejects: [reject] };
}

const kept = (raw: Buffer) => raw.subarray(0, MOST_KEPT_BYTES);

// The same id can come again with other content: from another server, or one that lost its data.
function messageIdOf(id: string, raw: Buffer): string {
  return `${id}/${createHash("sha256").update(raw).digest("hex").slice(0, 16)}`;
}

async function readWhole(
  registry: Registry,
  fields: StreamMessage["fields"],
  maxBytes: number,
): Promise<MessageReading> {
  const { request, encoding, ingestion_ts: time } = fields;
  if (!request) return undecodable("the message has no field request");
  let bytes: Uint8Array = request;
  if (encoding && encoding.length > 0) {
    const decode = DECODERS[encoding.toString()];
    if (!decode) return undecodable("encoding must be br or gzip, or absent");
    try {
      bytes = await promisify(decode)(request, { maxOutputLength: maxBytes });
    } catch (error) {
      const { code } = error as { code?: string };
      return undecodable(
        code === "ERR_BUFFER_TOO_LARGE"
          ? tooLong(maxBytes)
          : `request is not ${encoding.toString()}`,
      );
    }
  }
  if (bytes.length > maxBytes) return undecodable(tooLong(maxBytes));
  const reading = readMessage(registry, bytes, time && timeOfNanoseconds(time.toString()));
  for (let step = reading.next(); ; step = reading.next()) {
    if (step.done) return step.value;
    await setImmediate();
  }
}

const tooLong = (maxBytes: number) =>
  `request is longer than ${maxBytes} bytes: send fewer entities in a message`;

export interface StreamTaken {
  /** Messages that had not been taken before. */
  messages: number;
  accepted: number;
  copies: number;
  rejected: number;
}

/**
 * Takes messages in, in one transaction. When Postgres refuses something in them, each is taken alone,
 * and the one that is refused is put aside raw. Safe to repeat: who was taken is not taken again.
 * @throws whatever keeps Postgres from answering; then nothing of the last transaction was taken
 */
export async function takeMessages(
  db: Db,
  source: StreamSource,
  messages: readonly IncomingMessage[],
): Promise<StreamTaken> {
  try {
    return await takeTogether(db, source, messages);
  } catch (error) {
    if (classify(error) === "infrastructure") throw error;
    const [only, ...others] = messages;
    if (only && others.length === 0) return takeTogether(db, source, [refused(only, error)]);
    const taken: StreamTaken = { messages: 0, accepted: 0, copies: 0, rejected: 0 };
    for (const message of messages) add(taken, await takeMessages(db, source, [message]));
    return taken;
  }
}

async function takeTogether(
  db: Db,
  { tenant, branch, stream }: StreamSource,
  messages: readonly IncomingMessage[],
): Promise<StreamTaken> {
  const answers = await db.transaction((tx) =>
    ingestGroup(tx, { tenant, branch, source: `redis:${stream}` }, messages),
  );
  const taken: StreamTaken = { messages: 0, accepted: 0, copies: 0, rejected: 0 };
  for (const { repeated, ...counts } of answers) {
    if (!repeated) add(taken, { ...counts, messages: 1 });
  }
  return taken;
}

function refused(message: IncomingMessage, error: unknown): IncomingMessage {
  const why = error instanceof Error ? error.message : String(error);
  const issues = [{ path: "request", message: `Postgres refuses it: ${why.slice(0, 500)}` }];
  return {
    ...message,
    entries: [],
    rejects: [{ no: 1, code: "refused", issues, raw: kept(message.raw) }],
  };
}

export function add(sum: StreamTaken, more: StreamTaken): void {
  sum.messages += more.messages;
  sum.accepted += more.accepted;
  sum.copies += more.copies;
  sum.rejected += more.rejected;
}
