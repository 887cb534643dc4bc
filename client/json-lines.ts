import { InvalidInput, TooLarge } from "../contracts/errors.ts";
import { isNestedTooDeep, MOST_NESTED } from "../contracts/json-depth.ts";

/** Longest line accepted unless said otherwise, bytes. Holds the largest item with every character escaped twice over. */
const MAX_LINE_BYTES = 256 * 1024 * 1024;

const LF = 0x0a;
const BOM = "\uFEFF";

/**
 * NDJSON: split at LF only, a CR before it and a BOM at the start are dropped, blank lines are
 * passed over, a last line without newline counts. Line numbers are 1-based.
 * @throws InvalidInput naming the line that is not JSON or not UTF-8, TooLarge one over `maxLineBytes`
 */
export async function* jsonLines(
  source: AsyncIterable<Uint8Array | string>,
  maxLineBytes = MAX_LINE_BYTES,
): AsyncIterable<{ line: number; value: unknown }> {
  let line = 0;
  for await (const bytes of lines(source, maxLineBytes)) {
    line++;
    if (isNestedTooDeep(bytes)) {
      const message = `is nested more than ${MOST_NESTED} deep: send it flatter`;
      throw new InvalidInput([{ path: `line ${line}`, message }]);
    }
    const text = decode(bytes, line);
    if (text.trim() === "") continue;
    yield { line, value: parse(text, line) };
  }
}

async function* lines(
  source: AsyncIterable<Uint8Array | string>,
  maxBytes: number,
): AsyncIterable<Buffer> {
  let pending: Buffer[] = [];
  let length = 0;
  let line = 1;
  for await (const chunk of source) {
    const bytes =
      typeof chunk === "string"
        ? Buffer.from(chunk)
        : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let from = 0;
    for (;;) {
      const to = bytes.indexOf(LF, from);
      const piece = bytes.subarray(from, to === -1 ? undefined : to);
      length += piece.length;
      if (length > maxBytes) {
        throw new TooLarge(`line ${line}`, `is longer than ${maxBytes} bytes`);
      }
      // A caller's stream may reuse its chunk; what stays behind is copied.
      pending.push(to === -1 ? Buffer.from(piece) : piece);
      if (to === -1) break;
      yield pending.length === 1 ? pending[0]! : Buffer.concat(pending);
      pending = [];
      length = 0;
      line++;
      from = to + 1;
    }
  }
  if (length > 0) yield Buffer.concat(pending);
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decode(bytes: Buffer, line: number): string {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw new InvalidInput([{ path: `line ${line}`, message: "is not UTF-8" }]);
  }
  if (line === 1 && text.startsWith(BOM)) text = text.slice(1);
  return text.endsWith("\r") ? text.slice(0, -1) : text;
}

function parse(text: string, line: number): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message.slice(0, 120) : "not JSON";
    throw new InvalidInput([{ path: `line ${line}`, message: `is not JSON (${why})` }]);
  }
}
