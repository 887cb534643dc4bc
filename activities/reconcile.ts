import { setTimeout as pause } from "node:timers/promises";
import type { HoldfastConfig } from "../contracts/config.ts";
import type { Drained, DrainRef } from "../contracts/messages.ts";
import type { PlanApplyBatch } from "../db/plan-apply.ts";
import { nextInventory, nextRetryAt } from "../db/plan-due.ts";
import type { InventoryPlace } from "../db/inventory-look-up.ts";
import type { Db } from "../db/pool.ts";
import { reconcileBatch } from "../db/reconcile.ts";
import { markDrainSeen } from "../db/relay.ts";
import { atWork } from "./drain.ts";
import { beating } from "./heartbeat.ts";
import type { Pressure } from "./pressure.ts";

export interface ReconcileDeps {
  db: Db;
  config: HoldfastConfig;
  log?: { warn(fields: object, message: string): void };
  /** Planning goes slowly while streams lag. Absent: it never does. */
  pressure?: Pick<Pressure, "pauseMs">;
  /** After its last batch a drain looks this long for what was just taken in. Default 1,500 ms. */
  lingerMs?: number;
}

const SLICE_MS = 20_000;
const LINGER_MS = 1_500;
/** What is taken in is found by looking, this often. */
const LOOK_EVERY_MS = 50;
/** Where others work every branch that is due, at the least until then. */
const BUSY_MS = 5_000;
/** A branch that cannot be worked is tried again after this long. */
const FAULT_MS = 5_000;

/** Plans and applies what was taken in, tenant by tenant, into the built-in inventory. */
export const reconcileActivities = (deps: ReconcileDeps) => ({
  /** Safe to repeat: a batch is claimed, planned, applied and settled in one transaction. */
  reconcile(ref: DrainRef): Promise<Drained> {
    return beating(async (signal) => {
      const { db, lingerMs = LINGER_MS } = deps;
      const slice = new Slice(deps);
      const drained = await atWork(db, ref, () => slice.run(signal, lingerMs));
      // What is taken in from the last look on is for the relay to wake it for, whatever it rests for.
      await markDrainSeen(db, ref, !drained.more);
      return drained;
    });
  },
});

/** One call's worth of batches, branch after branch. */
class Slice {
  readonly #db: Db;
  readonly #config: HoldfastConfig;
  readonly #log: ReconcileDeps["log"];
  readonly #pauseMs: () => number;
  /** Branches that failed, or are worked by another: left out for the rest of the slice. */
  readonly #passedOver: InventoryPlace[] = [];
  #fault: unknown;
  #done = 0;

  constructor({ db, config, log, pressure }: ReconcileDeps) {
    this.#db = db;
    this.#config = config;
    this.#log = log;
    this.#pauseMs = () => pressure?.pauseMs() ?? 0;
  }

  async run(signal: AbortSignal, lingerMs: number): Promise<Drained> {
    const endsAt = performance.now() + SLICE_MS;
    // A drain that finds nothing to do at once has been woken for what others do.
    let lingersUntil = 0;
    let served: InventoryPlace | undefined;
    while (performance.now() < endsAt) {
      signal.throwIfAborted();
      const place = await nextInventory(this.#db, served, this.#passedOver);
      if (place) {
        served = place;
        const pauseMs = this.#pauseMs();
        if (pauseMs > 0) await pause(pauseMs, undefined, { signal });
        if (await this.#batch(place, signal)) lingersUntil = performance.now() + lingerMs;
      } else if (this.#passedOver.length > 0 || performance.now() >= lingersUntil) {
        return this.#rest();
      } else {
        await pause(LOOK_EVERY_MS, undefined, { signal });
      }
    }
    return { done: this.#done, more: true };
  }

  // A branch that cannot be worked does not keep the others from their turn.
  async #batch(place: InventoryPlace, signal: AbortSignal): Promise<boolean> {
    try {
      const batch = await reconcileBatch(this.#db, this.#config, place);
      this.#done += batch.claimed;
      this.#tell(place, batch);
      if (!batch.busy && batch.claimed > 0) return true;
    } catch (error) {
      signal.throwIfAborted();
      this.#fault = error;
      this.#log?.warn({ ...place, err: error }, "a branch of the inventory cannot be worked");
    }
    this.#passedOver.push(place);
    return false;
  }

  #tell(place: InventoryPlace, { heldBecause }: PlanApplyBatch): void {
    if (heldBecause)
      this.#log?.warn({ ...place, heldBecause }, "a branch of the inventory is held");
  }

  async #rest(): Promise<Drained> {
    // Faults are for the retries of the activity, unless something else was done meanwhile.
    if (this.#fault && this.#done === 0) throw this.#fault;
    const retryAt = await nextRetryAt(this.#db);
    const againMs = this.#fault ? FAULT_MS : this.#passedOver.length > 0 ? BUSY_MS : undefined;
    const times = [retryAt, againMs === undefined ? undefined : Date.now() + againMs];
    const nextDueAt = Math.min(...times.flatMap((time) => time ?? []));
    return {
      done: this.#done,
      more: false,
      ...(Number.isFinite(nextDueAt) ? { nextDueAt } : {}),
    };
  }
}
