import { randomInt } from "node:crypto";
import { v7 as uuidv7 } from "uuid";
import { InvalidInput, TooLarge } from "../contracts/errors.ts";
import {
  JOB_LIMITS,
  JobHeader,
  JobItem,
  JobSubmit,
  type JobHeaderInput,
  type JobInput,
} from "../contracts/job.ts";
import type { Accepted } from "../contracts/operation.ts";
import { insertJob } from "../db/jobs.ts";
import { createBatchDigest, type BatchDigest } from "../domain/digest.ts";
import { turnWeight } from "../domain/job.ts";
import { accept, type SubmitOptions } from "./accept.ts";
import { assertTenant, defaultTenant, type Context } from "./context.ts";
import { issuesOf, parseInput } from "./input.ts";
import { jsonLines } from "./json-lines.ts";
import { fileSpool, memorySpool, type PayloadSpool } from "./payload-spool.ts";

/** Hands in a job: its items in the call, by a collector, or as lines. */

/** A million items are one statement, on any machine. */
const STATEMENT_MS = 10 * 60_000;

export async function submitJob(
  context: Context,
  input: JobSubmit,
  options: SubmitOptions,
): Promise<Accepted> {
  assertItemCount(input);
  const { items, collector, collect, ...header } = parseInput(JobSubmit, completed(context, input));
  assertCollector(context, collector);
  const { items: rawItems, ...rawHeader } = input;
  const job = new NewJob(context, header, rawHeader, memorySpool(0, JOB_LIMITS.payloadBytes));
  for (const [index, item] of (items ?? []).entries()) {
    await job.add(item, rawItems![index], `items[${index}]`);
  }
  if (collector === undefined) return job.accept(options);
  return job.accept(options, { collector, collect }).catch((error: unknown) => {
    if ((error as { constraint?: string }).constraint !== "input_is_small") throw error;
    const message = "takes more than 16384 bytes in the database; let the collector look it up";
    throw new InvalidInput([{ path: "collect", message }]);
  });
}

export async function submitJobLines(
  context: Context,
  rawHeader: JobHeaderInput,
  source: AsyncIterable<Uint8Array | string>,
  options: SubmitOptions,
): Promise<Accepted> {
  const header = parseInput(JobHeader, completed(context, rawHeader));
  const job = new NewJob(context, header, rawHeader, await fileSpool(JOB_LIMITS.payloadBytes));
  try {
    for await (const { line, value } of jsonLines(source, JOB_LIMITS.lineBytes)) {
      const at = `line ${line}`;
      const item = JobItem.safeParse(value);
      if (!item.success) throw new InvalidInput(issuesOf(item.error, at));
      await job.add(item.data, value, at);
    }
    return await job.accept(options);
  } finally {
    await job.close();
  }
}

// Over a million items there is nothing to be gained from looking at each of them.
function assertItemCount(input: JobSubmit): void {
  const items: unknown = (input as { items?: unknown } | null)?.items;
  if (Array.isArray(items) && items.length > JOB_LIMITS.items) throw tooMany("items");
}

function tooMany(at: string): TooLarge {
  return new TooLarge(at, `a job holds at most ${JOB_LIMITS.items} items; split the job`);
}

/** What the caller leaves out, from the configuration. What is no object is refused by the schema. */
function completed<T extends JobHeaderInput>(context: Context, input: T): T {
  if (typeof input !== "object" || input === null) return input;
  const { defaults } = context.config.jobs ?? {};
  const isObject = typeof input.options === "object" && input.options !== null;
  const options = isObject || input.options === undefined ? { ...defaults, ...input.options } : {};
  return {
    ...input,
    tenant: input.tenant ?? defaultTenant(context),
    options: isObject || input.options === undefined ? options : input.options,
  };
}

// A process that only submits need not know the collectors of its workers; one that knows some knows all.
function assertCollector(context: Context, name: string | undefined): void {
  const known = Object.keys(context.config.jobs?.collectors ?? {});
  if (name === undefined || known.length === 0 || known.includes(name)) return;
  const message = `there is no collector "${name}": holdfast.config.ts has ${known.join(", ")}`;
  throw new InvalidInput([{ path: "collector", message }]);
}

/** One job on its way to being accepted. */
class NewJob {
  readonly #context: Context;
  readonly #header: JobHeader;
  readonly #id = uuidv7();
  readonly #spool: PayloadSpool;
  readonly #digest: BatchDigest;
  readonly #items: { key: string; size: number; batch: number }[] = [];
  #bytes = 0;
  #keyBytes = 0;

  constructor(
    context: Context,
    header: JobHeader,
    rawHeader: Omit<JobHeaderInput, "items">,
    spool: PayloadSpool,
  ) {
    assertTenant(context, header.tenant);
    this.#context = context;
    this.#header = header;
    this.#spool = spool;
    // The key names the request, it is not part of what is asked.
    const { key: _, ...asked } = rawHeader;
    this.#digest = createBatchDigest({ kind: "job", ...asked, tenant: header.tenant });
  }

  async add(item: JobItem, raw: unknown, at: string): Promise<void> {
    const no = this.#items.length + 1;
    if (no > JOB_LIMITS.items) throw tooMany(at);
    const { key = "", payload, reference } = item;
    const content = payload === undefined ? "" : JSON.stringify(payload);
    let size = 0;
    if (payload !== undefined || reference !== undefined) {
      size = await this.#spool.add(
        no,
        content,
        reference === undefined ? undefined : { reference },
      );
    }
    this.#bytes += size + Buffer.byteLength(reference ?? "");
    this.#keyBytes += Buffer.byteLength(key);
    this.#assertRoom(at);
    this.#items.push({ key, size, batch: 0 });
    this.#digest.add(raw);
  }

  #assertRoom(at: string): void {
    const over =
      this.#bytes > JOB_LIMITS.payloadBytes
        ? `payloads and references of one job are at most ${JOB_LIMITS.payloadBytes} bytes`
        : this.#keyBytes > JOB_LIMITS.keyBytes
          ? `keys of one job are at most ${JOB_LIMITS.keyBytes} bytes`
          : undefined;
    if (over) throw new TooLarge(at, `${over}; split the job`);
  }

  accept(options: SubmitOptions, input: Omit<JobInput, "pipeline"> = {}): Promise<Accepted> {
    const { tenant, pipeline, key, options: asked } = this.#header;
    const order = this.#order();
    const batches = batchesOf(order, this.#items, asked.batchSize);
    const numbers = numbersIn(order, this.#items.length);
    return accept(
      this.#context,
      {
        id: this.#id,
        kind: "job",
        tenant,
        scope: pipeline,
        key,
        digest: this.#digest.digest(),
        priority: asked.priority,
        bytes: this.#bytes + this.#keyBytes,
        input: { pipeline, ...input },
        startAfter: asked.startAfter,
        batches,
        items: order.map((at, index) => {
          const item = this.#items[at]!;
          item.batch = Math.floor(index / asked.batchSize) + 1;
          return item;
        }),
      },
      () => this.#spool.slices(numbers),
      options,
      {
        statementTimeoutMs: STATEMENT_MS,
        write: (tx) =>
          insertJob(tx, {
            operationId: this.#id,
            tenant,
            pipeline,
            weight: turnWeight(asked.weight, asked.priority),
            batchSize: asked.batchSize,
            leaseSeconds: asked.leaseSeconds,
            heartbeatSeconds: asked.heartbeatSeconds,
            deliveries: asked.deliveries,
            maxFailedShare: asked.maxFailedShare,
            shuffle: asked.shuffle,
            collector: input.collector,
            take: input.collector === undefined ? undefined : asked.limit,
          }),
      },
    );
  }

  /** Places (0-based) of the items that are taken, in the order they are handed out. */
  #order(): number[] {
    const { shuffle, limit = Infinity } = this.#header.options;
    const order = this.#items.map((_, at) => at);
    if (shuffle) shuffled(order);
    return order.length > limit ? order.slice(0, limit) : order;
  }

  close(): Promise<void> {
    return this.#spool.close();
  }
}

function shuffled(order: number[]): void {
  for (let last = order.length - 1; last > 0; last--) {
    const other = randomInt(last + 1);
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
}

function batchesOf(
  order: readonly number[],
  items: readonly { size: number }[],
  batchSize: number,
): { from: number; to: number; size: number }[] {
  const batches: { from: number; to: number; size: number }[] = [];
  for (let from = 0; from < order.length; from += batchSize) {
    const to = Math.min(order.length, from + batchSize);
    let size = 0;
    for (let at = from; at < to; at++) size += items[order[at]!]!.size;
    batches.push({ from: from + 1, to, size });
  }
  return batches;
}

/** The number an item is stored under, by the number it came as; undefined where they are the same. */
function numbersIn(
  order: readonly number[],
  items: number,
): ((itemNo: number) => number | undefined) | undefined {
  if (order.length === items && order.every((at, index) => at === index)) return undefined;
  const numbers = new Uint32Array(items + 1);
  for (const [index, at] of order.entries()) numbers[at + 1] = index + 1;
  return (itemNo) => numbers[itemNo] || undefined;
}
