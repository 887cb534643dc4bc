import { setTimeout as pause } from "node:timers/promises";
import type { HoldfastConfig } from "../contracts/config.ts";
import type { Drained, DrainRef } from "../contracts/messages.ts";
import { nextIndexSchema, type IndexDrain } from "../db/index-claim.ts";
import { indexDrain } from "../db/index-drain.ts";
import { recordFailing, recordWorking } from "../db/index-lanes.ts";
import { IndexSources } from "../db/index-sources.ts";
import type { Db } from "../db/pool.ts";
import { markDrainSeen } from "../db/relay.ts";
import { searchRegistry } from "../domain/search.ts";
import { atWork } from "./drain.ts";
import { beating } from "./heartbeat.ts";

export interface SearchDeps {
  db: Db;
  config: HoldfastConfig;
  log?: { warn(fields: object, message: string): void };
  /** An empty lane is looked at this long before the drain rests. Default 1,500 ms. */
  lingerMs?: number;
  /** Bound on one call of an external backend. Default 30,000 ms. */
  backendCallMs?: number;
}

const SLICE_MS = 20_000;
/** Marks are made by the commit, and found by looking: this often while the drain lingers. */
const LOOK_EVERY_MS = 50;
const LINGER_MS = 1_500;
/** Where another works a lane, at the least until then. */
const BUSY_MS = 1_000;
/** News of one batch that are logged one by one. */
const MOST_NEWS = 20;

/** Brings the search index up to date with what was committed. */
export const searchActivities = (deps: SearchDeps) => {
  const { db, config, log, lingerMs = LINGER_MS, backendCallMs } = deps;
  const registry = searchRegistry(config, db.schema);
  const options = backendCallMs === undefined ? {} : { callMs: backendCallMs };
  const drain = indexDrain(db, config, registry, new IndexSources(registry), options);
  return {
    /** Safe to repeat: marks go with what they asked for, or after it. */
    drainIndex(ref: DrainRef): Promise<Drained> {
      return beating(async (signal) => {
        const slice = new Slice(db, drain, ref.lane, log);
        const drained = await atWork(db, ref, () => slice.run(signal, lingerMs));
        // What is marked from the last look on is for the relay to wake it for.
        await markDrainSeen(db, ref, !drained.more && drained.nextDueAt === undefined);
        return drained;
      });
    },
  };
};

/** One call's worth of batches in one lane, schema after schema. */
class Slice {
  readonly #db: Db;
  readonly #drain: IndexDrain;
  readonly #lane: number;
  readonly #log: SearchDeps["log"];
  /** Schemas that failed, or are worked by another: left out for the rest of the slice. */
  readonly #passedOver = new Set<string>();
  #fault: unknown;
  #busyMs = 0;
  #done = 0;

  constructor(db: Db, drain: IndexDrain, lane: number, log: SearchDeps["log"]) {
    this.#db = db;
    this.#drain = drain;
    this.#lane = lane;
    this.#log = log;
  }

  async run(signal: AbortSignal, lingerMs: number): Promise<Drained> {
    const endsAt = performance.now() + SLICE_MS;
    let workedAt = performance.now();
    let served = "";
    while (performance.now() < endsAt) {
      signal.throwIfAborted();
      const schema = await nextIndexSchema(this.#db, this.#lane, served, [...this.#passedOver]);
      if (schema !== undefined) {
        served = schema;
        await this.#batch(schema, signal);
        workedAt = performance.now();
      } else if (this.#passedOver.size > 0 || performance.now() - workedAt >= lingerMs) {
        return this.#rest();
      } else {
        await pause(LOOK_EVERY_MS, undefined, { signal });
      }
    }
    return this.#fault ? this.#rest() : { done: this.#done, more: true };
  }

  // A schema that cannot be worked does not keep the others from their turn.
  async #batch(schema: string, signal: AbortSignal): Promise<void> {
    try {
      const batch = await this.#drain.batch(this.#lane, schema, signal);
      this.#done += batch.objects;
      for (const message of batch.news.slice(0, MOST_NEWS)) {
        this.#log?.warn({ schema, lane: this.#lane }, message);
      }
      if (batch.busyMs === undefined) return;
      this.#busyMs = Math.max(this.#busyMs, batch.busyMs);
    } catch (error) {
      signal.throwIfAborted();
      this.#fault ??= error;
      const reason = error instanceof Error ? error.message : String(error);
      await recordFailing(this.#db, this.#lane, `${schema}: ${reason}`);
    }
    this.#passedOver.add(schema);
  }

  async #rest(): Promise<Drained> {
    if (this.#fault) throw this.#fault;
    if (this.#busyMs > 0) {
      return {
        done: this.#done,
        more: false,
        nextDueAt: Date.now() + Math.max(BUSY_MS, this.#busyMs),
      };
    }
    await recordWorking(this.#db, this.#lane);
    return { done: this.#done, more: false };
  }
}
