import { randomUUID } from "node:crypto";
import { open, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TooLarge } from "../contracts/errors.ts";
import { INBOX_LIMITS } from "../contracts/inbox.ts";

/**
 * An upload between its client and its transaction: a temporary file of its bytes, so that a slow client
 * holds no transaction open and a large one no memory.
 */
export interface InboxSpool {
  /**
   * Passes an upload on, and keeps it. Once.
   * @throws TooLarge
   */
  through(source: AsyncIterable<Uint8Array | string>): AsyncIterable<Buffer>;
  /** What was kept, again and again. */
  kept(): AsyncIterable<Buffer>;
  close(): Promise<void>;
}

const WRITE_BYTES = 1024 * 1024;
const READ_BYTES = 1024 * 1024;

/** The file is unlinked as soon as it is open: a crash leaves nothing behind. */
export async function inboxSpool(): Promise<InboxSpool> {
  const path = join(tmpdir(), `holdfast-upload-${randomUUID()}`);
  const file = await open(path, "wx+", 0o600);
  await unlink(path);
  let end = 0;

  const write = async (pieces: readonly Buffer[]) => {
    const bytes = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
    for (let from = 0; from < bytes.length;) {
      const { bytesWritten } = await file.write(bytes, from, bytes.length - from, end);
      from += bytesWritten;
      end += bytesWritten;
    }
  };

  return {
    async *through(source) {
      let waiting: Buffer[] = [];
      let length = 0;
      for await (const chunk of source) {
        // A caller's stream may use its chunk again.
        const bytes = Buffer.from(chunk as Uint8Array);
        waiting.push(bytes);
        length += bytes.length;
        if (end + length > INBOX_LIMITS.uploadBytes) {
          const message = `holds at most ${INBOX_LIMITS.uploadBytes} bytes: split it`;
          throw new TooLarge("upload", message);
        }
        if (length >= WRITE_BYTES) {
          await write(waiting);
          waiting = [];
          length = 0;
        }
        yield bytes;
      }
      await write(waiting);
    },
    async *kept() {
      for (let from = 0; from < end;) {
        const bytes = Buffer.allocUnsafe(Math.min(READ_BYTES, end - from));
        const { bytesRead } = await file.read(bytes, 0, bytes.length, from);
        if (bytesRead === 0) throw new Error("the temporary file of an upload has become shorter");
        from += bytesRead;
        yield bytes.subarray(0, bytesRead);
      }
    },
    close: () => file.close(),
  };
}
