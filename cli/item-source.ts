import { createReadStream } from "node:fs";
import { InvalidInput } from "../contracts/errors.ts";

/** Items as files and standard input hold them: NDJSON, or one JSON array. */

/** The bytes of a file, not read yet. */
export function readable(path: string) {
  const stream = createReadStream(path);
  // Whoever reads it meets the error; until then it must not be nobody's.
  stream.on("error", () => undefined);
  return stream;
}

export interface Begun {
  /** The first characters that are not white space. */
  text: string;
  all: AsyncIterable<Uint8Array>;
}

const PEEK_BYTES = 64;

/** Reads as far as the first characters, and gives everything out again. */
export async function peek(source: AsyncIterable<Uint8Array>): Promise<Begun> {
  const chunks = source[Symbol.asyncIterator]();
  const read: Uint8Array[] = [];
  let text = "";
  while (text.length < PEEK_BYTES) {
    const next = await chunks.next();
    if (next.done) break;
    read.push(next.value);
    const some = Buffer.from(next.value).subarray(0, 4 * PEEK_BYTES);
    text = (text + some.toString("latin1")).replace(/^(ï»¿)?\s+|^ï»¿/, "");
    if (text.length > 0) break;
  }
  async function* all() {
    yield* read;
    for (;;) {
      const next = await chunks.next();
      if (next.done) return;
      yield next.value;
    }
  }
  return { text, all: all() };
}

/** The same with integers beyond 2^53 as they are written. */
export async function exactJsonArray<Item>(
  source: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<Item[]> {
  const { parseExactJson } = await import("../client/exact-json.ts");
  return jsonArray<Item>(source, maxBytes, parseExactJson);
}

/**
 * The values of one JSON array, read whole.
 * @throws InvalidInput when it is larger than that, or no JSON array
 */
export async function jsonArray<Item>(
  source: AsyncIterable<Uint8Array>,
  maxBytes: number,
  parse: (text: string) => unknown = JSON.parse,
): Promise<Item[]> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      throw new InvalidInput([
        { path: "input", message: "is too large for one array: send NDJSON, one item a line" },
      ]);
    }
    chunks.push(chunk);
  }
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
    return parse(text) as Item[];
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new InvalidInput([
      { path: "input", message: `begins like a JSON array and is none (${why})` },
    ]);
  }
}

/** The same with integers beyond 2^53 as they are written. */
export async function exactArray(
  source: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<unknown[]> {
  const { parseExactJson } = await import("../client/exact-json.ts");
  return jsonArray<unknown>(source, maxBytes, parseExactJson);
}
