import { setTimeout as sleep } from "node:timers/promises";
import { ApplicationFailure } from "@temporalio/common";
import type { CollectedPage, Collector } from "../contracts/plugins.ts";
import type { OperationRef, WorkReport } from "../contracts/messages.ts";
import { unstorable } from "../contracts/text.ts";
import { readOrders } from "../db/brakes.ts";
import { collectPage, type Collected, type Collecting } from "../db/job-collect.ts";
import { appendLogs } from "../db/logs.ts";
import { OVER_ALL_ITEMS, type Db } from "../db/pool.ts";
import { backoffMs, classify, deferredUntil } from "../domain/faults.ts";
import { inTime } from "./in-time.ts";
import { errorText } from "./job-answers.ts";

/** A collector's pages, each in one transaction with its cursor: who dies goes on behind the last one. */

export interface CollectContext {
  db: Db;
  ref: OperationRef;
  /** Undefined: this worker's configuration has none of that name. */
  collector: Collector | undefined;
  /** What the job was submitted with. */
  input: unknown;
  maxOpenItems: number;
  /** False: nothing is logged in the database. */
  persistLogs: boolean;
  signal: AbortSignal;
  draining: AbortSignal | undefined;
  log?: { warn(fields: object, message: string): void } | undefined;
}

/** One call works about this long, then answers how far it came. */
const SLICE_MS = 120_000;
const PAGE_ITEMS = 1_000;
const MOST_PAGE_ITEMS = 10_000;
const MOST_PAGE_BYTES = 16 * 1024 ** 2;
const MOST_CURSOR = 4_000;
const PAGE_TIMEOUT_MS = 60_000;
/** Tries of one page before it is left for a while; what it waits for is then to be seen. */
const TRIES = 3;
const AGAIN_MS = 30_000;

export class JobCollection {
  readonly #context: CollectContext;
  readonly #beat: (details: unknown) => void;
  #done = 0;

  constructor(context: CollectContext, beat: (details: unknown) => void) {
    this.#context = context;
    this.#beat = beat;
  }

  /** Until the last page is there, or it has to wait. */
  async run(from: Collecting): Promise<WorkReport> {
    const { db, ref, collector, signal, draining } = this.#context;
    if (!collector) return this.#later(`collector "${from.collector}", which this worker has not`);
    const sliceEnds = Date.now() + SLICE_MS;
    let at = from;
    let failures = 0;
    while (Date.now() < sliceEnds && !draining?.aborted) {
      signal.throwIfAborted();
      const orders = await readOrders(db, ref.id, ref.generation);
      if (orders !== "go") return { ...this.#report(), stop: orders };
      let page: CollectedPage;
      try {
        page = checked(await this.#ask(collector, at), collector, at);
        failures = 0;
      } catch (error) {
        signal.throwIfAborted();
        failures++;
        const waits = await this.#afterFault(error, at, failures);
        if (waits) return waits;
        continue;
      }
      const written = await this.#write(page, at);
      if (written.status === "ended") return this.#report();
      if (written.status === "too many") throw tooMany(written);
      if (written.status === "no room") {
        return this.#later(`room: its tenant has ${written.open} of ${written.limit} items open`);
      }
      this.#done += Math.max(0, written.collected - at.collected);
      const room = at.room - (written.collected - at.collected);
      at = { ...at, after: written.after, collected: written.collected, room };
      this.#beat({ collected: at.collected });
      if (written.done) break;
    }
    return this.#report();
  }

  #ask(collector: Collector, at: Collecting): Promise<CollectedPage> | CollectedPage {
    const { ref, input, signal } = this.#context;
    const timeoutMs = collector.pageTimeoutMs ?? PAGE_TIMEOUT_MS;
    return inTime("collector", timeoutMs, signal, async (bounded) =>
      collector.collect(input, at.after, {
        tenant: ref.tenant,
        operationId: ref.id,
        pipeline: at.pipeline,
        collected: at.collected,
        limit: Math.max(1, Math.min(pageItems(collector), at.room)),
        signal: bounded,
      }),
    );
  }

  #write(page: CollectedPage, at: Collecting): Promise<Collected> {
    const { db, ref, maxOpenItems } = this.#context;
    return db.transaction(
      (tx) =>
        collectPage(tx, {
          operationId: ref.id,
          generation: ref.generation,
          after: at.after,
          items: page.items,
          next: page.next,
          done: page.next === undefined,
          maxOpenItems,
        }),
      // The last page hands out all of them.
      OVER_ALL_ITEMS,
    );
  }

  /** What to answer, or undefined to try again. */
  async #afterFault(
    error: unknown,
    at: Collecting,
    failures: number,
  ): Promise<WorkReport | undefined> {
    const said = errorText(error);
    const fault = classify(error);
    if (fault === "refused") {
      throw ApplicationFailure.nonRetryable(
        `refused by collector "${at.collector}": ${said}`,
        "Refused",
      );
    }
    if (fault === "deferred") {
      const until = deferredUntil(error)?.getTime() ?? 0;
      return this.#later(said, Math.max(until, Date.now() + 1_000));
    }
    if (failures < TRIES) {
      const { signal } = this.#context;
      await sleep(backoffMs(failures, { baseMs: 1_000, capMs: 10_000 }), undefined, { signal });
      return undefined;
    }
    await this.#tell(`collector "${at.collector}" failed after ${at.collected} items: ${said}`);
    return this.#later(`collector "${at.collector}": ${said}`, Date.now() + AGAIN_MS);
  }

  // A line of log is never a reason to fail.
  async #tell(message: string): Promise<void> {
    const { db, ref, log, persistLogs } = this.#context;
    log?.warn({ job: ref.id }, message);
    if (!persistLogs) return;
    await appendLogs(db, [{ operationId: ref.id, level: "warn", message }]).catch(() => undefined);
  }

  #report(): WorkReport {
    return { done: this.#done, complete: false };
  }

  #later(waitsFor: string, nextDueAt = Date.now() + AGAIN_MS): WorkReport {
    return { ...this.#report(), nextDueAt, waitsFor: waitsFor.slice(0, 300) };
  }
}

function pageItems(collector: Collector): number {
  return Math.min(Math.max(1, collector.pageItems ?? PAGE_ITEMS), MOST_PAGE_ITEMS);
}

/** @throws what is wrong with the page as a whole: it is not written, and asked for again */
function checked(page: CollectedPage, collector: Collector, at: Collecting): CollectedPage {
  const { items, next } = page ?? {};
  if (!Array.isArray(items)) throw new Error("a page must have `items`, a list");
  const most = pageItems(collector);
  if (items.length > most) {
    throw new Error(
      `a page of ${items.length} items is over its limit of ${most}: answer fewer, or set pageItems (at most ${MOST_PAGE_ITEMS})`,
    );
  }
  const written = items.map(asJson);
  const bytes = written.reduce((sum, { size }) => sum + size, 0);
  if (bytes > MOST_PAGE_BYTES) {
    throw new Error(
      `a page of ${bytes} bytes is over the limit of ${MOST_PAGE_BYTES}: answer fewer items, or references`,
    );
  }
  if (next !== undefined) {
    if (typeof next !== "string" || next.length === 0 || next.length > MOST_CURSOR) {
      throw new Error(`\`next\` must be text of 1 to ${MOST_CURSOR} characters, or absent`);
    }
    const why = unstorable(next);
    if (why) throw new Error(`\`next\` ${why}`);
    if (next === at.after) throw new Error("`next` is where this page began: it would never end");
  }
  return { ...page, items: written.map(({ item }) => item) };
}

type Item = CollectedPage["items"][number];

function asJson(item: Item): { item: Item; size: number } {
  try {
    return { item, size: Buffer.byteLength(JSON.stringify(item) ?? "") };
  } catch (error) {
    // A bigint, or something that holds itself.
    return { item: { error: errorText(error) }, size: 0 };
  }
}

function tooMany({ limit }: Collected): ApplicationFailure {
  return ApplicationFailure.nonRetryable(
    `collected more than ${limit} items, which is all that one job may have: split it, or set its limit`,
    "TooLarge",
  );
}
