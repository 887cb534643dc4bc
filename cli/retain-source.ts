import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import type { RetainClient } from "../client/index.ts";
import { InvalidInput } from "../contracts/errors.ts";
import type { Accepted } from "../contracts/operation.ts";
import { RETAIN_LIMITS, type RetainSubmit } from "../contracts/retain.ts";
import { documentLines, inFolder, type TextFile } from "./retain-folder.ts";
import { note } from "./output.ts";

type Header = Omit<RetainSubmit, "items">;

/** Something to submit, looked at far enough to know what it is. */
export interface Source {
  submit(retain: RetainClient, header: Header): Promise<Accepted>;
}

const ITEM_FILE = /\.(ndjson|jsonl|json)$/i;

/**
 * What a path means: a folder is its text files, one document each; `-` and files named .ndjson,
 * .jsonl or .json hold items, and so does a file that begins like JSON; any other file is a document.
 * @throws InvalidInput when there is no such file, or nothing in it
 */
export async function openSource(path: string, as?: "items" | "documents"): Promise<Source> {
  if (path === "-") return openStandardInput(as);
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    const why = error.code === "ENOENT" ? "there is no such file or folder" : error.message;
    throw new InvalidInput([{ path, message: `${why}: check the path` }]);
  });
  if (found.isDirectory()) {
    if (as === "items") {
      throw new InvalidInput([{ path, message: "is a folder; --as items wants one file" }]);
    }
    const { files, skipped } = await inFolder(path);
    if (skipped > 0)
      note(`${skipped} ${skipped === 1 ? "file" : "files"} passed over: binary or blank`);
    return documents(path, files);
  }
  const bytes = readable(path);
  if (as === "documents") return documents(path, [{ id: basename(path), path }]);
  const begin = await peek(bytes);
  const holdsItems = as === "items" || ITEM_FILE.test(path) || /^\[\s*[{\]]|^\{/.test(begin.text);
  if (holdsItems) return items(begin);
  bytes.destroy();
  return documents(path, [{ id: basename(path), path }]);
}

async function openStandardInput(as?: "items" | "documents"): Promise<Source> {
  if (as === "documents") {
    throw new InvalidInput([
      { path: "-", message: "--as documents wants a file or folder: a document needs a name" },
    ]);
  }
  if (process.stdin.isTTY) note("reading items from the terminal; end with Ctrl-D");
  return items(await peek(process.stdin));
}

function readable(path: string) {
  const stream = createReadStream(path);
  // Whoever reads it meets the error; until then it must not be nobody's.
  stream.on("error", () => undefined);
  return stream;
}

interface Begun {
  /** The first characters that are not white space. */
  text: string;
  all: AsyncIterable<Uint8Array>;
}

const PEEK_BYTES = 64;

/** Reads as far as the first characters, and gives everything out again. */
async function peek(source: AsyncIterable<Uint8Array>): Promise<Begun> {
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

function items({ text, all }: Begun): Source {
  return {
    submit: async (retain, header) =>
      text.startsWith("[")
        ? retain.submit({ ...header, items: await jsonArray(all) })
        : retain.submitLines(header, all),
  };
}

/** JSON may escape every character of what it holds, and be indented. */
const ARRAY_BYTES = 2 * RETAIN_LIMITS.batchBytes;

async function jsonArray(source: AsyncIterable<Uint8Array>): Promise<RetainSubmit["items"]> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    if (bytes > ARRAY_BYTES) {
      throw new InvalidInput([
        { path: "input", message: "is too large for one array: send NDJSON, one item a line" },
      ]);
    }
    chunks.push(chunk);
  }
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
    return JSON.parse(text) as RetainSubmit["items"];
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new InvalidInput([
      { path: "input", message: `begins like a JSON array and is none (${why})` },
    ]);
  }
}

function documents(path: string, files: readonly TextFile[]): Source {
  if (files.length === 0) {
    throw new InvalidInput([{ path, message: "holds no text file: name a folder that does" }]);
  }
  if (files.length > RETAIN_LIMITS.items) {
    throw new InvalidInput([
      {
        path,
        message: `holds ${files.length} text files, a batch takes ${RETAIN_LIMITS.items}: submit its folders one by one`,
      },
    ]);
  }
  return {
    submit: (retain, header) =>
      retain.submitLines(header, documentLines(files)).catch((error: unknown) => {
        throw namingFiles(error, files);
      }),
  };
}

/** Says the file where the client says the line it was made into. */
function namingFiles(error: unknown, files: readonly TextFile[]): unknown {
  if (!(error instanceof InvalidInput)) return error;
  const issues = error.issues.map(({ path, message }) => ({
    path: path.replace(/^line (\d+)/, (line, no: string) => files[Number(no) - 1]?.path ?? line),
    message,
  }));
  return new InvalidInput(issues, error.code, error.status);
}
