import type { HoldfastConfig } from "../contracts/config.ts";
import type { BatchRange, Finished, OperationRef, WorkReport } from "../contracts/messages.ts";
import { RetainInput } from "../contracts/retain.ts";
import { chargeCrash, findFlight, land, takeOff } from "../db/attempts.ts";
import { readOrders } from "../db/brakes.ts";
import { finishOperation } from "../db/finish.ts";
import { findDueItems, openInRange, type DueItem } from "../db/items.ts";
import { findOperation } from "../db/operations.ts";
import type { Db } from "../db/pool.ts";
import { proseExtractor } from "../domain/extraction.ts";
import { classify } from "../domain/faults.ts";
import { beating } from "./heartbeat.ts";
import { beginOperation } from "./operation.ts";
import { commitPage, type Committed } from "./retain-commit.ts";
import { isLarge, prepareLarge, Stopped } from "./retain-large.ts";
import { failed, preparePage, whatNext, type PageContext, type Prepared } from "./retain-page.ts";
import { Solitude } from "./solitude.ts";

export interface RetainDeps {
  db: Db;
  config: HoldfastConfig;
  /** Stands in the ledger as who settled what. */
  identity: string;
  /** The worker is about to stop: work ends with its page and is handed back. */
  draining?: AbortSignal;
}

/** Items of one page, at the most; a page is one transaction. */
const PAGE_ITEMS = 100;
/** Code points of one page, about. An item above it is a page of its own. */
const PAGE_SIZE = 1_000_000;
/** One call works about this long, then answers how far it came. */
const SLICE_MS = 120_000;
/** Deaths of a worker with one item alone in flight, before the item is given up. */
const MAX_CRASHES = 3;

export const retainActivities = ({ db, config, identity, draining }: RetainDeps) => {
  const inFlight = { sharing: new Solitude(), unlanded: new Set<string>() };
  const plugIns = {
    validator: config.validator,
    extractor: config.extractor ?? proseExtractor,
    timeoutMs: config.retain?.extractTimeoutMs ?? 120_000,
  };

  async function pages(ref: OperationRef, range: BatchRange): Promise<WorkReport> {
    return beating(async (signal, beat) => {
      const row = await findOperation(db, ref.id);
      if (!row) return { done: 0, complete: false, stop: "gone" };
      const context: PageContext = {
        db,
        ref,
        input: RetainInput.parse(row.input),
        acceptedAt: row.accepted_at.toISOString(),
        plugIns,
        concurrency: config.retain?.extractConcurrency ?? 16,
        signal,
      };
      return new RangeWork(context, range, inFlight, identity, beat).run(draining);
    });
  }

  return {
    /** Works one range for a while. Safe to repeat: what is settled stays settled. */
    retainPages: pages,

    /** Begins, works and finishes a small batch in one go. Safe to repeat at any point. */
    async retainWhole(ref: OperationRef): Promise<{ finished: Finished } | { report: WorkReport }> {
      if (!(await beginOperation(db, ref, identity))) {
        return { finished: { state: "gone", counts: {} } };
      }
      const report = await pages(ref, await wholeRange(db, ref));
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

async function wholeRange(db: Db, ref: OperationRef): Promise<BatchRange> {
  const row = await findOperation(db, ref.id);
  return { no: 1, from: 1, to: row?.batches ?? 1 };
}

/** What pages of one process know of each other. */
interface InFlight {
  sharing: Solitude;
  /** Pages that ended while Postgres was away: their row still says "in flight", and is wrong. */
  unlanded: Set<string>;
}

/** One range in the hands of one activity. */
class RangeWork {
  readonly #context: PageContext;
  readonly #range: { operationId: string; generation: number; fromBatch: number; toBatch: number };
  readonly #flight: { operationId: string; generation: number; rangeNo: number };
  readonly #inFlight: InFlight;
  readonly #identity: string;
  readonly #beat: (details: unknown) => void;
  #pageItems = PAGE_ITEMS;
  #alone = false;
  #done = 0;

  constructor(
    context: PageContext,
    range: BatchRange,
    inFlight: InFlight,
    identity: string,
    beat: (details: unknown) => void,
  ) {
    const { id: operationId, generation } = context.ref;
    this.#context = context;
    this.#range = { operationId, generation, fromBatch: range.from, toBatch: range.to };
    this.#flight = { operationId, generation, rangeNo: range.no };
    this.#inFlight = inFlight;
    this.#identity = identity;
    this.#beat = beat;
  }

  async run(draining?: AbortSignal): Promise<WorkReport> {
    const { db } = this.#context;
    await this.#afterCrash();
    const sliceEnds = Date.now() + SLICE_MS;
    let afterItem = 0;
    while (Date.now() < sliceEnds && !draining?.aborted) {
      this.#context.signal.throwIfAborted();
      const due = await findDueItems(db, this.#range, {
        limit: this.#pageItems,
        maxSize: PAGE_SIZE,
        afterItem,
      });
      if (due.length === 0) {
        if (afterItem === 0) break;
        afterItem = 0; // items put off meanwhile may be due by now
        continue;
      }
      const stop = await this.#page(due);
      if (stop) return { done: this.#done, complete: false, stop };
      afterItem = due.at(-1)!.no;
      this.#beat({ done: this.#done, item: afterItem });
    }
    const { open, nextDueAt } = await openInRange(db, this.#range);
    if (open === 0) return { done: this.#done, complete: true };
    const orders = await readOrders(db, this.#range.operationId, this.#range.generation);
    if (orders !== "go") return { done: this.#done, complete: false, stop: orders };
    return {
      done: this.#done,
      complete: false,
      ...(nextDueAt ? { nextDueAt: nextDueAt.getTime() } : {}),
    };
  }

  // A page found in flight means that the attempt before this one died with it. The next page is
  // half as large; an item that was alone in its process is charged.
  async #afterCrash(): Promise<void> {
    const { db, ref } = this.#context;
    const flight = await findFlight(db, this.#flight);
    if (!flight) return;
    if (this.#inFlight.unlanded.delete(this.#flightName())) return land(db, this.#flight);
    this.#pageItems = Math.max(1, Math.floor(flight.items.length / 2));
    this.#alone = flight.items.length === 1;
    if (this.#alone && flight.alone) {
      await db.transaction((tx) => chargeCrash(tx, ref, flight.items[0]!));
    }
    await land(db, this.#flight);
  }

  async #page(due: DueItem[]): Promise<WorkReport["stop"]> {
    const { db, ref } = this.#context;
    const orders = await readOrders(db, ref.id, ref.generation);
    if (orders !== "go") return orders;
    const alone = this.#alone;
    const stop = await this.#inFlight.sharing.enter(alone, async () => {
      const flight = { items: due.map((item) => item.no), alone };
      await takeOff(db, this.#flight, flight, this.#identity);
      try {
        return await this.#work(due);
      } finally {
        await land(db, this.#flight).catch(() => this.#inFlight.unlanded.add(this.#flightName()));
      }
    });
    this.#alone = false;
    this.#pageItems = Math.min(PAGE_ITEMS, this.#pageItems * 2);
    return stop;
  }

  #flightName(): string {
    const { operationId, generation, rangeNo } = this.#flight;
    return `${operationId}/${generation}/${rangeNo}`;
  }

  async #work(due: readonly DueItem[]): Promise<WorkReport["stop"]> {
    try {
      const prepared = await this.#prepare(due);
      this.#context.signal.throwIfAborted();
      const { stop } = await this.#commit(prepared);
      return stop;
    } catch (error) {
      if (error instanceof Stopped) return error.orders;
      throw error;
    }
  }

  async #prepare(due: readonly DueItem[]): Promise<Prepared[]> {
    const crashed = due.filter((item) => item.crashes >= MAX_CRASHES);
    const small = due.filter((item) => item.crashes < MAX_CRASHES && !isLarge(item));
    const large = due.filter((item) => item.crashes < MAX_CRASHES && isLarge(item));
    const prepared = [
      ...crashed.map((item) => failed(item, `crashes the worker (${item.crashes} times)`)),
      ...(small.length > 0 ? await preparePage(this.#context, small) : []),
    ];
    for (const item of large) prepared.push(await this.#prepareLarge(item));
    return prepared;
  }

  async #prepareLarge(item: DueItem): Promise<Prepared> {
    try {
      return await prepareLarge(this.#context, item, (position) =>
        this.#beat({ done: this.#done, item: item.no, position }),
      );
    } catch (error) {
      this.#context.signal.throwIfAborted();
      if (error instanceof Stopped) throw error;
      return whatNext(item, error, this.#context.input.maxAttempts);
    }
  }

  // What Postgres refuses for good is one item's fault: the page is halved until that one is alone.
  async #commit(prepared: readonly Prepared[]): Promise<Committed> {
    const { db, input } = this.#context;
    try {
      const committed = await db.transaction(
        (tx) => commitPage(this.#context, tx, prepared, this.#identity),
        { statementTimeoutMs: 60_000 },
      );
      this.#done += committed.settled;
      return committed;
    } catch (error) {
      if (classify(error) !== "domain") throw error;
      if (prepared.length === 1) {
        if (prepared[0]!.kind === "settle") throw error;
        return this.#commit([whatNext(prepared[0]!.due, error, input.maxAttempts)]);
      }
      const middle = Math.ceil(prepared.length / 2);
      const first = await this.#commit(prepared.slice(0, middle));
      return first.stop ? first : this.#commit(prepared.slice(middle));
    }
  }
}
