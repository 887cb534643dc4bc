import { activityInfo } from "@temporalio/activity";
import type { HoldfastConfig } from "../contracts/config.ts";
import { NotFound, RefusedByPolicy } from "../contracts/errors.ts";
import type { BatchRange, Finished, OperationRef, WorkReport } from "../contracts/messages.ts";
import { ReindexInput } from "../contracts/reindex.ts";
import { finishOperation } from "../db/finish.ts";
import { canBeRead, schemaExists } from "../db/index-build.ts";
import { readSource } from "../db/index-source.ts";
import { findDueItems, openInRange } from "../db/items.ts";
import { findOperation } from "../db/operations.ts";
import type { Db } from "../db/pool.ts";
import { classify } from "../domain/faults.ts";
import { searchRegistry } from "../domain/search.ts";
import { beating } from "./heartbeat.ts";
import { beginOperation } from "./operation.ts";
import {
  buildNext,
  passOverNext,
  settleWithout,
  type IndexItem,
  type PageContext,
  type Step,
} from "./reindex-page.ts";

export interface ReindexDeps {
  db: Db;
  config: HoldfastConfig;
  /** Stands in the ledger as who settled what. */
  identity: string;
  /** The worker is about to stop: work ends with its page and is handed back. */
  draining?: AbortSignal;
}

/** One call works about this long, then answers how far it came. */
const SLICE_MS = 120_000;
/**
 * Objects of the first page; the next ones are as large as fits into the time for a page. Half as many
 * with every attempt that did not come back: a page may be what it died of.
 */
const FIRST_PAGE = 1_000;
const LARGEST_PAGE = 10_000;
/** The drain of a schema waits for a page, so a page takes about this long and no longer. */
const PAGE_MS = 400;

export const reindexActivities = ({ db, config, identity, draining }: ReindexDeps) => {
  const registry = searchRegistry(config, db.schema);

  async function pages(ref: OperationRef, range: BatchRange): Promise<WorkReport> {
    return beating(async (signal, beat) => {
      const row = await findOperation(db, ref.id);
      if (!row) return { done: 0, complete: false, stop: "gone" };
      const { lazy } = ReindexInput.parse(row.input);
      const context = { db, ref, registry, lazy, identity };
      return new IndexWork(context, range, signal, beat).run(draining);
    });
  }

  return {
    /** Works at the indexes of a range for a while, one after the other. Safe to repeat. */
    reindexPages: pages,

    /** Begins, works and finishes a usual reindex in one go. Safe to repeat at any point. */
    async reindexWhole(
      ref: OperationRef,
    ): Promise<{ finished: Finished } | { report: WorkReport }> {
      if (!(await beginOperation(db, ref, identity))) {
        return { finished: { state: "gone", counts: {} } };
      }
      const row = await findOperation(db, ref.id);
      const report = await pages(ref, { no: 1, from: 1, to: row?.batches ?? 1 });
      if (!report.complete) return { report };
      const { id, generation } = ref;
      const ending = { outcome: "failed", reason: "left open by its worker" } as const;
      return {
        finished: await db.transaction((tx) =>
          finishOperation(tx, { id, generation, by: identity, ...ending }),
        ),
      };
    },
  };
};

/** The indexes of one range in the hands of one activity. */
class IndexWork {
  readonly #context: PageContext;
  readonly #range: { operationId: string; generation: number; fromBatch: number; toBatch: number };
  readonly #signal: AbortSignal;
  readonly #beat: (details: unknown) => void;
  #limit = Math.max(1, FIRST_PAGE >> Math.min(activityInfo().attempt - 1, 10));
  #done = 0;

  constructor(
    context: PageContext,
    range: BatchRange,
    signal: AbortSignal,
    beat: (details: unknown) => void,
  ) {
    const { id: operationId, generation } = context.ref;
    this.#context = context;
    this.#range = { operationId, generation, fromBatch: range.from, toBatch: range.to };
    this.#signal = signal;
    this.#beat = beat;
  }

  async run(draining?: AbortSignal): Promise<WorkReport> {
    const { db } = this.#context;
    const sliceEnds = Date.now() + SLICE_MS;
    let item: IndexItem | undefined;
    while (Date.now() < sliceEnds && !draining?.aborted) {
      this.#signal.throwIfAborted();
      item ??= await this.#nextItem();
      if (!item) return { done: this.#done, complete: true };
      const step = await this.#step(item);
      this.#beat({ done: this.#done, item: item.no, limit: this.#limit });
      if (step.did === "stopped") return { done: this.#done, complete: false, stop: step.stop };
      if (step.did === "page") continue;
      this.#done++;
      item = undefined;
    }
    const { open } = await openInRange(db, this.#range);
    return { done: this.#done, complete: open === 0 };
  }

  async #nextItem(): Promise<IndexItem | undefined> {
    const page = { limit: 1, maxSize: 1, afterItem: 0 };
    const [due] = await findDueItems(this.#context.db, this.#range, page);
    if (!due) return undefined;
    // A type has no dot in its name, a schema may have.
    const dot = due.key.lastIndexOf(".");
    return { no: due.no, schema: due.key.slice(0, dot), type: due.key.slice(dot + 1) };
  }

  async #step(item: IndexItem): Promise<Step> {
    const limit = this.#limit;
    const began = performance.now();
    try {
      const step = await buildNext(this.#context, item, limit);
      if (step.did === "page") this.#resize(limit, performance.now() - began);
      return step;
    } catch (error) {
      return this.#afterFault(item, limit, error);
    }
  }

  #resize(limit: number, ms: number): void {
    const wanted = limit * Math.min(2, Math.max(0.25, PAGE_MS / Math.max(1, ms)));
    this.#limit = Math.min(LARGEST_PAGE, Math.max(1, Math.round(wanted)));
  }

  /** What cannot be read at all ends its item; a page with a bad object is cut until it is alone. */
  async #afterFault(item: IndexItem, limit: number, error: unknown): Promise<Step> {
    const reason = error instanceof Error ? error.message : String(error);
    if (error instanceof NotFound || error instanceof RefusedByPolicy) {
      const outcome = (await schemaExists(this.#context.db, item.schema)) ? "failed" : "blocked";
      return settleWithout(this.#context, item, outcome, reason);
    }
    const code = (error as { code?: unknown }).code;
    if (typeof code !== "string") throw error;
    const tooSlow = code === TOO_SLOW && limit > 1;
    if (!tooSlow && classify(error) !== "domain") throw error;
    if (!tooSlow && !(await this.#isReadable(item))) {
      return settleWithout(this.#context, item, "failed", `it cannot be read: ${reason}`);
    }
    if (limit === 1) return passOverNext(this.#context, item, reason);
    this.#limit = Math.max(1, Math.floor(limit / 8));
    return { did: "page", rows: 0 };
  }

  async #isReadable({ schema, type: name }: IndexItem): Promise<boolean> {
    const { db, registry } = this.#context;
    const type = registry.types.get(name);
    if (!type) return true;
    return canBeRead(db, await readSource(db, schema, type), registry.settings.language);
  }
}

/** Statement timeout. */
const TOO_SLOW = "57014";
