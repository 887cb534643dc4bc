import { createHash, randomUUID } from "node:crypto";
import { open, unlink, type FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TooLarge } from "../contracts/errors.ts";
import { PAYLOAD_PART_SIZE, RETAIN_LIMITS } from "../contracts/retain.ts";
import { pieces } from "../contracts/text.ts";
import type { PayloadSlice } from "../db/payloads.ts";

/** Bytes of one statement's payloads. Bounds memory on both sides; a usual batch is one slice. */
const SLICE_BYTES = 8 * 1024 * 1024;
/** Texts gather to about this many bytes before they go to the file. */
const FILE_CHUNK_BYTES = 1024 * 1024;
const EMPTY = Buffer.alloc(0);
/** UTF-8 bytes that one UTF-16 code unit can take. */
const UNIT_BYTES = 3;

type Entry = PayloadSlice["entries"][number];

/**
 * Collects payloads in the order of their items and gives them out in slices of bounded size. In
 * memory for a batch the caller holds anyway, in a temporary file for one that streams in.
 */
export interface PayloadSpool {
  /** Answers the UTF-8 bytes of the content. */
  add(itemNo: number, content: string, meta: Record<string, unknown> | undefined): Promise<number>;
  /** UTF-8 bytes of all contents so far. */
  bytes(): number;
  /** SHA-256 of all contents, one after the other. Once, when all are added. */
  contentsDigest(): Buffer;
  /** `numberOf`: the number an item is stored under; without one it is left out. */
  slices(numberOf?: (itemNo: number) => number | undefined): AsyncIterable<PayloadSlice>;
  close(): Promise<void>;
}

interface Store {
  /** How much to gather before it is written. */
  chunkBytes: number;
  write(bytes: Buffer): Promise<void>;
  read(from: number, length: number): Promise<Buffer>;
  close(): Promise<void>;
}

/** `units`: about how many UTF-16 code units there will be, so that nothing has to grow. */
export function memorySpool(units = 0, maxBytes?: number): PayloadSpool {
  const buffers: Buffer[] = [];
  let whole: Buffer | undefined;
  const store: Store = {
    chunkBytes: SLICE_BYTES,
    write: async (bytes) => void buffers.push(bytes),
    read: async (from, length) => {
      whole ??= buffers.length === 1 ? buffers[0]! : Buffer.concat(buffers);
      return whole.subarray(from, from + length);
    },
    close: async () => undefined,
  };
  return spool(store, Math.min(units + (units >> 3) + 4_096, SLICE_BYTES), maxBytes);
}

/** The file is unlinked as soon as it is open: a crash leaves nothing behind. */
export async function fileSpool(maxBytes?: number): Promise<PayloadSpool> {
  const path = join(tmpdir(), `holdfast-upload-${randomUUID()}`);
  const file: FileHandle = await open(path, "wx+", 0o600);
  await unlink(path);
  let end = 0;
  const store: Store = {
    chunkBytes: FILE_CHUNK_BYTES,
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
  };
  return spool(store, FILE_CHUNK_BYTES, maxBytes);
}

function spool(
  store: Store,
  firstBytes: number,
  maxBytes: number = RETAIN_LIMITS.batchBytes,
): PayloadSpool {
  const entries = new Entries();
  const contents = createHash("sha256");
  let total = 0;
  let chunk = EMPTY;
  let used = 0;
  let hashed = 0; // up to here in the chunk

  const write = (text: string) => {
    const most = used + text.length * UNIT_BYTES;
    if (most > chunk.length) {
      const larger = Buffer.allocUnsafe(Math.max(most, 2 * chunk.length, firstBytes));
      chunk.copy(larger, 0, 0, used);
      chunk = larger;
    }
    const length = chunk.write(text, used);
    used += length;
    return length;
  };
  const hashContents = () => {
    if (used > hashed) contents.update(chunk.subarray(hashed, used));
    hashed = used;
  };

  const flush = async () => {
    hashContents();
    await store.write(chunk.subarray(0, used));
    chunk = EMPTY;
    used = hashed = 0;
  };

  return {
    async add(itemNo, content, meta) {
      const before = total;
      let part = 0;
      for (const piece of pieces(content, PAYLOAD_PART_SIZE)) {
        const contentBytes = write(piece);
        total += contentBytes;
        if (total > maxBytes) {
          throw new TooLarge(
            "items",
            `contents are over ${maxBytes} bytes together; split the batch`,
          );
        }
        let metaBytes = 0;
        if (part === 0 && meta) {
          hashContents();
          metaBytes = write(JSON.stringify(meta));
          hashed = used;
        }
        entries.add(itemNo, part, contentBytes, metaBytes);
        part++;
        if (used >= store.chunkBytes) await flush();
      }
      return total - before;
    },
    bytes: () => total,
    contentsDigest() {
      hashContents();
      return contents.digest();
    },
    async *slices(numberOf) {
      if (used > 0) await flush();
      let from = 0;
      for (const slice of cut(entries)) {
        const length = slice.reduce((sum, entry) => sum + lengthOf(entry), 0);
        const bytes = await store.read(from, length);
        yield numberOf ? numbered({ bytes, entries: slice }, numberOf) : { bytes, entries: slice };
        from += length;
      }
    },
    close: store.close,
  };
}

/** Of a million of them, objects would take more memory than most payloads. */
class Entries {
  static readonly #FIELDS = 4;
  #numbers = new Int32Array(64 * Entries.#FIELDS);
  #used = 0;

  add(itemNo: number, part: number, contentBytes: number, metaBytes: number): void {
    if (this.#used === this.#numbers.length) {
      const larger = new Int32Array(2 * this.#used);
      larger.set(this.#numbers);
      this.#numbers = larger;
    }
    const numbers = this.#numbers;
    numbers[this.#used++] = itemNo;
    numbers[this.#used++] = part;
    numbers[this.#used++] = contentBytes;
    numbers[this.#used++] = metaBytes;
  }

  *[Symbol.iterator](): IterableIterator<Entry> {
    for (let at = 0; at < this.#used; at += Entries.#FIELDS) {
      yield {
        itemNo: this.#numbers[at]!,
        part: this.#numbers[at + 1]!,
        contentBytes: this.#numbers[at + 2]!,
        metaBytes: this.#numbers[at + 3]!,
      };
    }
  }
}

function* cut(entries: Iterable<Entry>): Iterable<Entry[]> {
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

function numbered(
  { bytes, entries }: PayloadSlice,
  numberOf: (itemNo: number) => number | undefined,
): PayloadSlice {
  const kept: Entry[] = [];
  const pieces: Buffer[] = [];
  let from = 0;
  for (const entry of entries) {
    const to = from + lengthOf(entry);
    const itemNo = numberOf(entry.itemNo);
    if (itemNo !== undefined) {
      kept.push({ ...entry, itemNo });
      pieces.push(bytes.subarray(from, to));
    }
    from = to;
  }
  return { bytes: Buffer.concat(pieces), entries: kept };
}

function lengthOf(entry: Entry): number {
  return entry.contentBytes + entry.metaBytes;
}
