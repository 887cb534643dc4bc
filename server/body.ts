import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import { HoldfastError, InvalidInput, TooLarge } from "../contracts/errors.ts";
import { isNestedTooDeep, MOST_NESTED } from "../contracts/json-depth.ts";
import { parseExactJson, type Json } from "../domain/exact-json.ts";

/** Bytes of one JSON body of documents or items; it is held in memory. NDJSON takes more. */
export const ITEMS_JSON_BYTES = 32 * 1024 * 1024;
/** What to do with a larger one. */
export const SEND_LINES = "send NDJSON (content-type application/x-ndjson), or split the batch";
/** Bytes of any other JSON body. */
const JSON_BYTES = 64 * 1024;
/** Bytes of one NDJSON upload as sent: the largest batch with every second character escaped. */
export const NDJSON_BYTES = 512 * 1024 * 1024;

const JSON_TYPE = "application/json";
export const NDJSON_TYPE = "application/x-ndjson";

/** What a body says it is. @throws a 415 that names what is taken */
export function assertMediaType(c: Context, taken: readonly string[]): string {
  const encoding = c.req.header("content-encoding") ?? "identity";
  if (encoding.toLowerCase() !== "identity") {
    throw unsupported(`content-encoding ${encoding} is not taken: send the body as it is`);
  }
  const given = c.req.header("content-type");
  const [essence = "", ...parameters] = (given ?? "").toLowerCase().split(";");
  const charset = parameters.map((text) => text.trim()).find((text) => text.startsWith("charset="));
  if (charset && !/^charset="?utf-?8"?$/.test(charset)) {
    throw unsupported(`${charset} is not taken: send UTF-8`);
  }
  if (taken.includes(essence.trim())) return essence.trim();
  throw unsupported(
    `${given ? `content-type ${given} is not taken` : "there is no content-type"}: send ${taken.join(" or ")}`,
  );
}

function unsupported(message: string): HoldfastError {
  return new HoldfastError("unsupported-media-type", 415, message);
}

/**
 * A JSON object of at most `limit` bytes, as it was sent. `next`: what to do where it is larger.
 * @throws InvalidInput, TooLarge, and a 415
 */
export async function jsonObject(
  c: Context,
  limit = JSON_BYTES,
  next?: string,
): Promise<Record<string, unknown>> {
  assertMediaType(c, [JSON_TYPE]);
  return objectIn(await wholeBody(c, limit, next));
}

/** The same with integers beyond 2^53 as they were sent. */
export async function exactJsonObject(
  c: Context,
  limit: number,
  next?: string,
): Promise<{ readonly [name: string]: Json }> {
  assertMediaType(c, [JSON_TYPE]);
  return objectIn(await wholeBody(c, limit, next), parseExactJson) as {
    readonly [name: string]: Json;
  };
}

/** The same where the body may be left out: then `{}`. */
export async function jsonObjectIfAny(c: Context): Promise<Record<string, unknown>> {
  const bytes = await wholeBody(c, JSON_BYTES);
  if (bytes.length === 0) return {};
  assertMediaType(c, [JSON_TYPE]);
  return objectIn(bytes);
}

async function wholeBody(c: Context, limit: number, next?: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bodyBytes(c, limit, next)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function objectIn(
  bytes: Buffer,
  parse: (text: string) => unknown = JSON.parse,
): Record<string, unknown> {
  const value = parsed(bytes, parse);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InvalidInput([{ path: "body", message: "must be a JSON object" }]);
  }
  return value as Record<string, unknown>;
}

function parsed(bytes: Buffer, parse: (text: string) => unknown): unknown {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new InvalidInput([{ path: "body", message: "is not UTF-8" }]);
  }
  if (isNestedTooDeep(bytes)) {
    const message = `is nested more than ${MOST_NESTED} deep: send it flatter`;
    throw new InvalidInput([{ path: "body", message }]);
  }
  if (text === "") throw new InvalidInput([{ path: "body", message: "is empty: send JSON" }]);
  try {
    return parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message.slice(0, 120) : "not JSON";
    throw new InvalidInput([{ path: "body", message: `is not JSON (${why})` }]);
  }
}

/**
 * The body as it arrives, at most `limit` bytes of it.
 * @throws TooLarge, and `upload-dropped` when the client goes away before its end
 */
export async function* bodyBytes(
  c: Context,
  limit: number,
  next = "send less",
): AsyncGenerator<Uint8Array> {
  const announced = Number(c.req.header("content-length") ?? 0);
  if (announced > limit) throw tooLarge(limit, next);
  const body = c.req.raw.body;
  if (!body) return;
  let length = 0;
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause: unknown) => {
        throw dropped(cause);
      });
      if (done) {
        assertComplete(c);
        return;
      }
      length += value.byteLength;
      if (length > limit) throw tooLarge(limit, next);
      yield value;
    }
  } finally {
    reader.releaseLock();
  }
}

// What is first read when its client is gone already looks like a body that is empty.
function assertComplete(c: Context): void {
  const { incoming } = (c.env ?? {}) as Partial<HttpBindings>;
  if (incoming?.complete === false) throw dropped();
}

function dropped(cause?: unknown): HoldfastError {
  const message = "the upload ended early: send it again";
  return new HoldfastError("upload-dropped", 400, message, { cause });
}

function tooLarge(limit: number, next: string): TooLarge {
  return new TooLarge("body", `is over ${limit} bytes: ${next}`);
}
