import { open, readdir, readFile } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { InvalidInput } from "../contracts/errors.ts";
import { isBlank } from "../contracts/text.ts";

/** A text file as a document: its id is its path inside the folder, with `/`. */
export interface TextFile {
  id: string;
  path: string;
}

/** Folders of tools and dependencies; who wants them names them. */
const PASSED_OVER = new Set(["node_modules"]);
const PROBE_BYTES = 8_192;

/**
 * The text files of a folder and its folders, in the order of their names, so that a repeat makes the
 * same batch. Hidden files and links are not looked at; binary and blank ones are counted as skipped.
 */
export async function inFolder(root: string): Promise<{ files: TextFile[]; skipped: number }> {
  const files: TextFile[] = [];
  let skipped = 0;
  const waiting = [root];
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      if (entry.name.startsWith(".") || PASSED_OVER.has(entry.name)) continue;
      const path = join(folder, entry.name);
      if (entry.isDirectory()) waiting.push(path);
      if (!entry.isFile()) continue;
      if (await looksLikeText(path)) {
        files.push({ id: relative(root, path).split(sep).join("/"), path });
      } else skipped++;
    }
  }
  return { files: files.toSorted((a, b) => (a.id < b.id ? -1 : 1)), skipped };
}

async function looksLikeText(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(PROBE_BYTES), 0, PROBE_BYTES, 0);
    const begin = buffer.subarray(0, bytesRead);
    if (begin.includes(0)) return false;
    // A character cut by the end of the probe is no fault: streaming leaves it pending.
    const text = new TextDecoder("utf-8", { fatal: true }).decode(begin, { stream: true });
    return bytesRead === PROBE_BYTES || !isBlank(text);
  } catch {
    return false;
  } finally {
    await file.close();
  }
}

/** Each file as one line of NDJSON, read when its turn comes. */
export async function* documentLines(files: readonly TextFile[]): AsyncIterable<string> {
  for (const { id, path } of files) {
    yield `${JSON.stringify({ content: await textOf(path), documentId: id })}\n`;
  }
}

async function textOf(path: string): Promise<string> {
  const bytes = await readFile(path);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new InvalidInput([{ path, message: "is not UTF-8: convert it, or leave it out" }]);
  }
}
