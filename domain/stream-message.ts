import type { InputIssue } from "../contracts/errors.ts";
import { parseExactJson, type Json } from "./exact-json.ts";
import { namedEntry, type InboxEntry } from "./inbox-entry.ts";
import { linesOf, readEntity, readLine, type EntityReading } from "./inventory-line.ts";
import { exactTime } from "./inventory-time.ts";
import type { Registry } from "./registry.ts";

export interface MessageReject {
  /** Number of the entity in its message, from 1. */
  no: number;
  code: string;
  issues: readonly InputIssue[];
  raw?: Uint8Array;
}

export interface MessageReading {
  entries: InboxEntry[];
  rejects: MessageReject[];
}

/** Entities between which whoever reads may do something else. */
const AT_ONCE = 200;

/**
 * The entities of one message, uncompressed: a JSON array, `{"entities": [...]}`, NDJSON or one entity.
 * Yields now and then, so that the caller can let others run; returns the whole. Never throws.
 * @param time of entities that give none, as `exactTime` writes it
 */
export function* readMessage(
  registry: Registry,
  bytes: Uint8Array,
  time?: string,
): Generator<void, MessageReading> {
  const message: MessageReading = { entries: [], rejects: [] };
  let text: string;
  try {
    text = UTF_8.decode(bytes);
  } catch {
    return undecodable("request is not UTF-8");
  }
  let no = 0;
  const add = (reading: EntityReading, raw: () => string) => {
    no++;
    if (reading.read === "nothing") return;
    const entry =
      reading.read === "entity"
        ? namedEntry(registry, {
            ...(time !== undefined && { sourceTime: time }),
            ...reading.entity,
          })
        : reading.rejection;
    if ("code" in entry) message.rejects.push({ no, ...entry, raw: Buffer.from(raw()) });
    else message.entries.push(entry);
  };

  const list = firstLineStandsAlone(text) ? undefined : wholeOf(text);
  if (Array.isArray(list)) {
    for (const value of list) {
      add(readEntity(registry, value), () => JSON.stringify(value, digits));
      if (no % AT_ONCE === 0) yield;
    }
  } else {
    for (const line of linesOf(text)) {
      add(readLine(registry, line), () => line);
      if (no % AT_ONCE === 0) yield;
    }
  }
  // Lines of which none is an entity are no lines: the message is one text that is broken.
  const broken = message.entries.length === 0 && typeof list === "string";
  if (broken) return undecodable(list);
  return no === 0 ? undecodable("request holds no entity") : message;
}

/** A message of which nothing can be read. */
export function undecodable(why: string): MessageReading {
  const issues = [{ path: "request", message: why }];
  return { entries: [], rejects: [{ no: 1, code: "undecodable", issues }] };
}

/** `ingestion_ts`, nanoseconds since 1970, as a time with nine digits; undefined for what is none. */
export function timeOfNanoseconds(text: string): string | undefined {
  if (!/^\d{1,19}$/.test(text)) return undefined;
  const digits = text.padStart(10, "0");
  const seconds = new Date(Number(digits.slice(0, -9)) * 1_000).toISOString().slice(0, 19);
  return exactTime(`${seconds}.${digits.slice(-9)}Z`);
}

const UTF_8 = new TextDecoder("utf-8", { fatal: true });

/** Whether the first of several lines is a value by itself. */
function firstLineStandsAlone(text: string): boolean {
  const end = text.indexOf("\n");
  if (end === -1) return false;
  try {
    JSON.parse(text.slice(0, end));
    return true;
  } catch {
    return false;
  }
}

/** The values of a message that is one JSON text, or why it is none. */
function wholeOf(text: string): readonly Json[] | string {
  let value: Json;
  try {
    value = parseExactJson(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : "no JSON";
    return `request cannot be read: ${why.replaceAll(/[\p{Cc}\p{Cs}]/gu, "?").slice(0, 200)}`;
  }
  if (Array.isArray(value)) return value as readonly Json[];
  if (typeof value !== "object" || value === null) {
    return 'request must be a list of entities, {"entities": [...]} or NDJSON';
  }
  const { entities } = value as { readonly entities?: Json };
  return Array.isArray(entities) ? (entities as readonly Json[]) : [value];
}

function digits(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}
