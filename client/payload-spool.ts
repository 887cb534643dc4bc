import { randomUUID } from "node:crypto";
import { open, unlink, type FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TooLarge } from "../contracts/errors.ts";
import { PAYLOAD_PART_SIZE, RETAIN_LIMITS } from "../contracts/retain.ts";
import { pieces } from "../contracts/text.ts";
import type { PayloadSlice } from "../db/payloads.ts";

/** Bytes of one statement's payloads. Bounds memory on both sides; a usual batch is one slice. */
const SLICE_BYTES = 8 * 1024 * 1024;

type Entry = PayloadSlice["entries"][number];

/**
 * Collects payloads in the order of their items and gives them out in slices of bounded size. In
 * memory for a batch the caller holds anyway, in a temporary file for one that streams in.
 */
export interface PayloadSpool {
  add(itemNo: number, content: string, meta: Record<string, unknown> | undefined): Promise<void>;
  bytes(): number;
  slices(): AsyncIterable<PayloadSlice>;
  close(): Promise<void>;
}

interface Store {
  write(bytes: Buffer): Promise<void>;
  read(from: number, length: number): Promise<Buffer>;
  close(): Promise<void>;
}

export function memorySpool(): PayloadSpool {
  const buffers: Buffer[] = [];
  let whole: Buffer | undefined;
  return spool({
    write: async (bytes) => void buffers.push(bytes),
    read: async (from, length) => {
      whole ??= buffers.length === 1 ? buffers[0]! : Buffer.concat(buffers);
      return whole.subarray(from, from + length);
    },
    close: async () => undefined,
  });
}

/** The file is unlinked as soon as it is open: a crash leaves nothing behind. */
export async function fileSpool(): Promise<PayloadSpool> {
  const path = join(tmpdir(), `holdfast-upload-${randomUUID()}`);
  const file: FileHandle = await open(path, "wx+", 0o600);
  await unlink(path);
  let end = 0;
  return spool({
    write: async (bytes) => {
      await file.write(bytes, 0, bytes.length, end);
      end += bytes.length;
    },
    read: async (from, length) => {
      const bytes = Buffer.allocUnsafe(length);
      await file.read(bytes, 0, length, from);
      return bytes;
    },
    close: () => file.close(),
  });
}

function spool(store: Store): PayloadSpool {
  const entries: Entry[] = [];
  let total = 0;
  return {
    async add(itemNo, content, meta) {
      let part = 0;
      for (const piece of pieces(content, PAYLOAD_PART_SIZE)) {
        const text = Buffer.from(piece);
        const label = part === 0 && meta ? Buffer.from(JSON.stringify(meta)) : Buffer.alloc(0);
        total += text.length;
        if (total > RETAIN_LIMITS.batchBytes) {
          throw new TooLarge(
            "items",
            `contents are over ${RETAIN_LIMITS.batchBytes} bytes together; split the batch`,
          );
        }
        await store.write(text);
        if (label.length > 0) await store.write(label);
        entries.push({ itemNo, part, contentBytes: text.length, metaBytes: label.length });
        part++;
      }
    },
    bytes: () => total,
    async *slices() {
      let from = 0;
      for (const slice of cut(entries)) {
        const length = slice.reduce((sum, entry) => sum + lengthOf(entry), 0);
        yield { bytes: await store.read(from, length), entries: slice };
        from += length;
      }
    },
    close: store.close,
  };
}

function* cut(entries: readonly Entry[]): Iterable<Entry[]> {
  let slice: Entry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    if (slice.length > 0 && bytes + lengthOf(entry) > SLICE_BYTES) {
      yield slice;
      slice = [];
      bytes = 0;
    }
    slice.push(entry);
    bytes += lengthOf(entry);
  }
  yield slice;
}

function lengthOf(entry: Entry): number {
  return entry.contentBytes + entry.metaBytes;
}
