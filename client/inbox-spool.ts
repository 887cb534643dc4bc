import { randomUUID } from "node:crypto";
import { open, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { InputIssue } from "../contracts/errors.ts";
import { CHUNK, CHUNK_LENGTH, type InboxChunk, type Reject } from "../db/inbox.ts";
import type { InboxEntry } from "../domain/inbox-entry.ts";

/**
 * An upload between its client and its transaction: a temporary file of entries and rejects, so that a
 * slow client holds no transaction open and a large one no memory.
 */
export interface InboxSpool {
  add(part: { entry: InboxEntry } | { reject: Reject }): Promise<void>;
  /** What was added, in its order. */
  chunks(): AsyncGenerator<InboxChunk>;
  close(): Promise<void>;
}

const WRITE_LENGTH = 1024 * 1024;
const READ_BYTES = 1024 * 1024;
/** Between fields; JSON never holds one as it is. */
const TAB = "\t";
const LF = 0x0a;

/** The file is unlinked as soon as it is open: a crash leaves nothing behind. */
export async function inboxSpool(): Promise<InboxSpool> {
  const path = join(tmpdir(), `holdfast-upload-${randomUUID()}`);
  const file = await open(path, "wx+", 0o600);
  await unlink(path);
  let end = 0;
  let waiting: string[] = [];
  let length = 0;
  const flush = async () => {
    const bytes = Buffer.from(waiting.join(""));
    waiting = [];
    length = 0;
    for (let from = 0; from < bytes.length;) {
      const { bytesWritten } = await file.write(bytes, from, bytes.length - from, end);
      from += bytesWritten;
      end += bytesWritten;
    }
  };

  async function* lines(): AsyncGenerator<string> {
    let rest: Buffer = Buffer.alloc(0);
    for (let from = 0; from < end;) {
      const piece = Buffer.allocUnsafe(Math.min(READ_BYTES, end - from));
      const { bytesRead } = await file.read(piece, 0, piece.length, from);
      if (bytesRead === 0) throw new Error("the temporary file of an upload has become shorter");
      from += bytesRead;
      const bytes =
        rest.length > 0
          ? Buffer.concat([rest, piece.subarray(0, bytesRead)])
          : piece.subarray(0, bytesRead);
      let at = 0;
      for (let to = bytes.indexOf(LF); to !== -1; to = bytes.indexOf(LF, at)) {
        yield bytes.toString("utf8", at, to);
        at = to + 1;
      }
      rest = bytes.subarray(at);
    }
  }

  return {
    async add(part) {
      const line = "entry" in part ? lineOfEntry(part.entry) : lineOfReject(part.reject);
      waiting.push(line);
      length += line.length;
      if (length >= WRITE_LENGTH) await flush();
    },
    async *chunks() {
      await flush();
      let entries: InboxEntry[] = [];
      let rejects: Reject[] = [];
      let held = 0;
      for await (const line of lines()) {
        held += line.length;
        if (line.startsWith("r")) rejects.push(rejectIn(line));
        else entries.push(entryIn(line));
        if (entries.length + rejects.length < CHUNK && held < CHUNK_LENGTH) continue;
        yield { entries, rejects };
        entries = [];
        rejects = [];
        held = 0;
      }
      if (entries.length + rejects.length > 0) yield { entries, rejects };
    },
    close: () => file.close(),
  };
}

function lineOfEntry(entry: InboxEntry): string {
  const { type, identity, hash, text, warnings = "", sourceTime = "", branch, nested = [] } = entry;
  const named = branch === undefined ? "" : JSON.stringify(branch);
  return `e\t${type}\t${identity}\t${hash}\t${sourceTime}\t${named}\t${warnings}\t${nested.join(",")}\t${text}\n`;
}

function entryIn(line: string): InboxEntry {
  const [, type, identity, hash, sourceTime, branch, warnings, nested, text] = line.split(TAB);
  return {
    type: type!,
    identity: identity!,
    hash: hash!,
    text: text!,
    ...(warnings && { warnings }),
    ...(sourceTime && { sourceTime }),
    ...(branch && { branch: JSON.parse(branch) as string }),
    ...(nested && { nested: nested.split(",") }),
  };
}

function lineOfReject({ no, code, issues, raw }: Reject): string {
  const kept = raw
    ? Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString("base64")
    : "-";
  return `r\t${no}\t${code}\t${JSON.stringify(issues)}\t${kept}\n`;
}

function rejectIn(line: string): Reject {
  const [, no, code, issues, raw] = line.split(TAB);
  return {
    no: Number(no),
    code: code!,
    issues: JSON.parse(issues!) as InputIssue[],
    ...(raw !== "-" && { raw: Buffer.from(raw!, "base64") }),
  };
}
