import { createHash, type Hash } from "node:crypto";
import { v7 as uuidv7 } from "uuid";
import { InvalidInput, RefusedByPolicy, TooLarge } from "../contracts/errors.ts";
import type { Accepted } from "../contracts/operation.ts";
import {
  RETAIN_LIMITS,
  RetainHeader,
  RetainItem,
  RetainSubmit,
  type RetainInput,
} from "../contracts/retain.ts";
import { codePointLength } from "../contracts/text.ts";
import { createBatchDigest, type BatchDigest } from "../domain/digest.ts";
import { packBatches } from "../domain/packing.ts";
import { accept, type SubmitOptions } from "./accept.ts";
import { asking, assertTenant, defaultTenant, type Context } from "./context.ts";
import { issuesOf, parseInput } from "./input.ts";
import { jsonLines } from "./json-lines.ts";
import { fileSpool, memorySpool, type PayloadSpool } from "./payload-spool.ts";

type Header = Omit<RetainSubmit, "items">;

/** How to hand documents to a bank. */
export interface RetainClient {
  /**
   * Accepts a batch of 1 to 10,000 documents in one transaction and answers at once; a worker does
   * the rest. With `key`, a repeat answers the same operation.
   * @throws InvalidInput, TooLarge, RefusedByPolicy, Conflict, LimitExceeded, Unavailable
   */
  submit(input: RetainSubmit, options?: SubmitOptions): Promise<Accepted>;
  /**
   * The same from NDJSON, one item a line, without holding the batch in memory. The source is read
   * to its end before the transaction begins: a dropped upload leaves nothing.
   */
  submitLines(
    header: Header,
    source: AsyncIterable<Uint8Array | string>,
    options?: SubmitOptions,
  ): Promise<Accepted>;
}

export function retainClient(context: Context): RetainClient {
  return {
    submit: (input, options = {}) => asking(() => submit(context, input, options)),
    submitLines: (header, source, options = {}) =>
      asking(() => submitLines(context, header, source, options)),
  };
}

async function submit(context: Context, input: RetainSubmit, options: SubmitOptions) {
  const parsed = parseInput(RetainSubmit, withTenant(context, input));
  const { items, ...header } = parsed;
  const { items: rawItems, ...rawHeader } = input;
  const batch = new Batch(context, header, rawHeader, memorySpool(unitsOf(items)));
  for (const [index, item] of items.entries()) {
    await batch.add(item, rawItems[index], `items[${index}]`);
  }
  return batch.accept(options);
}

function unitsOf(items: readonly RetainItem[]): number {
  return items.reduce((sum, item) => sum + item.content.length, 0);
}

async function submitLines(
  context: Context,
  rawHeader: Header,
  source: AsyncIterable<Uint8Array | string>,
  options: SubmitOptions,
) {
  const header = parseInput(RetainHeader, withTenant(context, rawHeader));
  const batch = new Batch(context, header, rawHeader, await fileSpool());
  try {
    for await (const { line, value } of jsonLines(source)) {
      const at = `line ${line}`;
      const item = RetainItem.safeParse(value);
      if (!item.success) throw new InvalidInput(issuesOf(item.error, at));
      await batch.add(item.data, value, at);
    }
    if (batch.size === 0) {
      throw new InvalidInput([{ path: "body", message: "must hold at least one line" }]);
    }
    return await batch.accept(options);
  } finally {
    await batch.close();
  }
}

function withTenant<T extends { tenant?: string | undefined }>(context: Context, input: T): T {
  if (typeof input !== "object" || input === null) return input; // refused by the schema, by name
  return input.tenant === undefined ? { ...input, tenant: defaultTenant(context) } : input;
}

/** One batch on its way to being accepted. */
class Batch {
  readonly #context: Context;
  readonly #header: RetainHeader;
  readonly #id = uuidv7();
  readonly #spool: PayloadSpool;
  readonly #digest: BatchDigest;
  /** Contents as they were handed in, where a validator may have others stored. */
  readonly #askedContents: Hash | undefined;
  readonly #items: { key: string; size: number; batch: number }[] = [];
  #totalSize = 0;

  constructor(context: Context, header: RetainHeader, rawHeader: Header, spool: PayloadSpool) {
    assertTenant(context, header.tenant);
    this.#context = context;
    this.#header = header;
    this.#spool = spool;
    // The key names the request, it is not part of what is asked.
    const { key: _, ...asked } = rawHeader;
    this.#digest = createBatchDigest({ kind: "retain", ...asked, tenant: header.tenant });
    this.#askedContents = context.config.validator && createHash("sha256");
  }

  get size(): number {
    return this.#items.length;
  }

  async add(item: RetainItem, raw: unknown, at: string): Promise<void> {
    const no = this.#items.length + 1;
    if (no > RETAIN_LIMITS.items) {
      throw new TooLarge(at, `a batch holds at most ${RETAIN_LIMITS.items} items; split it`);
    }
    const allowed = this.#context.config.validator ? await this.#validated(item, no, at) : item;
    const { content, documentId, ...rest } = allowed;
    const meta = Object.keys(rest).length > 0 ? rest : undefined;
    if (content.length > RETAIN_LIMITS.itemSize) assertItemSize(content, at);
    const bytes = await this.#spool.add(no, content, meta);
    // As many bytes as code units: every one is a character.
    const size = bytes === content.length ? bytes : codePointLength(content);
    this.#totalSize += size;
    // An item without a document id gets one that no retry and no packing can change.
    this.#items.push({ key: documentId ?? `${this.#id}.${no}`, size, batch: 0 });
    this.#addToDigest(item, raw, bytes);
  }

  // What was asked for, before defaults and validator: a repeat of it is a repeat whatever they are.
  #addToDigest(item: RetainItem, raw: unknown, storedBytes: number): void {
    const { content: _, ...asked } = raw as Record<string, unknown>;
    this.#askedContents?.update(item.content, "utf8");
    this.#digest.add(asked, this.#askedContents ? Buffer.byteLength(item.content) : storedBytes);
  }

  async #validated(item: RetainItem, itemNo: number, at: string): Promise<RetainItem> {
    const { validator } = this.#context.config;
    if (!validator) return item;
    const { tenant, bank } = this.#header;
    const signal = new AbortController().signal;
    const answer = await validator.validate(item, { tenant, bank, itemNo, attempt: 0, signal });
    if (answer.verdict === "refuse") {
      throw new RefusedByPolicy(`${at}: refused by the validator: ${answer.reason}`, { at });
    }
    return answer.verdict === "rewrite" ? parseInput(RetainItem, answer.item, at) : item;
  }

  accept(options: SubmitOptions): Promise<Accepted> {
    const { tenant, bank, key, documentTags, options: settings } = this.#header;
    const batches = packBatches(
      this.#items.map((item) => item.size),
      settings.budget,
      settings.batchItems,
    );
    batches.forEach((batch, index) => {
      for (let no = batch.from; no <= batch.to; no++) this.#items[no - 1]!.batch = index + 1;
    });
    // The id of the bank is put beside this by the statement that accepts.
    const input: Omit<RetainInput, "bankId"> = {
      bank,
      ...(documentTags ? { documentTags } : {}),
      chunkSize: settings.chunkSize,
      maxAttempts: settings.maxAttempts,
      totalSize: this.#totalSize,
    };
    return accept(
      this.#context,
      {
        id: this.#id,
        kind: "retain",
        tenant,
        scope: bank,
        bank,
        key,
        digest: this.#digest.digest(this.#askedContents?.digest() ?? this.#spool.contentsDigest()),
        priority: settings.priority,
        bytes: this.#spool.bytes(),
        input,
        startAfter: settings.startAfter,
        batches,
        items: this.#items,
      },
      () => this.#spool.slices(),
      options,
    );
  }

  close(): Promise<void> {
    return this.#spool.close();
  }
}

function assertItemSize(content: string, at: string): void {
  const size = codePointLength(content);
  if (size <= RETAIN_LIMITS.itemSize) return;
  throw new TooLarge(at, `content holds ${size} characters, more than ${RETAIN_LIMITS.itemSize}`);
}
