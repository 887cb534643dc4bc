import type { HoldfastConfig } from "../contracts/config.ts";
import type { Begun, JobLook, OperationRef } from "../contracts/messages.ts";
import { readOrders } from "../db/brakes.ts";
import { hasOpenItem } from "../db/items.ts";
import { endOwnLeases } from "../db/job-lanes.ts";
import { expireDueLeases } from "../db/job-leases.ts";
import { endStuckJob, readStalls, repairBatches } from "../db/job-stall.ts";
import { openJob } from "../db/job-open.ts";
import { closeSettledBatches, openBatches } from "../db/job-settled.ts";
import { appendLogs } from "../db/logs.ts";
import { findOperation } from "../db/operations.ts";
import { OVER_ALL_ITEMS, type Db } from "../db/pool.ts";
import { holdupOf, nextLookMs, stallStep, warnsOf, type StallFacts } from "../domain/job-stall.ts";
import { beating } from "./heartbeat.ts";
import { ownEntry } from "./job.ts";
import { beginOperation } from "./operation.ts";

export interface JobControlDeps {
  db: Db;
  config: HoldfastConfig;
  /** Stands in the log as who began it, and in the ledger as who ended it. */
  identity: string;
}

/** Batches of one job that are worked by processors at once. */
const LANES = 4;

/** Beginning a job and looking at it: short, and prompt while the work queue is busy. */
export const jobControlActivities = ({ db, config, identity }: JobControlDeps) => {
  const { processors = {}, persistLogs = true } = config.jobs ?? {};

  return {
    /** Running and handed out at one instant; what is to be collected is handed out later. Safe to repeat. */
    beginJob(ref: OperationRef): Promise<Begun> {
      return beating(async () => {
        const began = await beginOperation(db, ref, identity, {
          persistLogs,
          alongside: async (tx) => void (await openJob(tx, ref.id, ref.generation)),
        });
        if (began) return { state: "running", ranges: [{ no: 1, from: 1, to: 1 }], window: 1 };
        return { state: "gone", was: (await findOperation(db, ref.id))?.state ?? "erased" };
      });
    },

    /**
     * How a job stands, and what there is for our own workers, none of which works on it meanwhile.
     * Mends it when it is stuck, and ends it when that has not helped. Safe to repeat.
     */
    lookAtJob(ref: OperationRef): Promise<JobLook> {
      return beating(() => new Look(db, ref, { identity, persistLogs, processors }).take());
    },
  };
};

interface Settings {
  identity: string;
  persistLogs: boolean;
  processors: Readonly<Record<string, unknown>>;
}

const nothing = { done: 0, complete: false, lanes: 0 } as const;

class Look {
  readonly #db: Db;
  readonly #ref: OperationRef;
  readonly #settings: Settings;

  constructor(db: Db, ref: OperationRef, settings: Settings) {
    this.#db = db;
    this.#ref = ref;
    this.#settings = settings;
  }

  async take(): Promise<JobLook> {
    const { id, generation } = this.#ref;
    const orders = await readOrders(this.#db, id, generation);
    if (orders === "gone" || orders === "cancelled") return { ...nothing, stop: orders };
    // Our own lanes are not at work during a look: who holds a batch for one is dead.
    if ((await endOwnLeases(this.#db, this.#ref)) > 0) await expireDueLeases(this.#db);
    const facts = await this.#facts();
    if (!facts) return { ...nothing, stop: "gone" };
    if (await this.#isSettled(facts)) return { ...nothing, complete: true };
    if (orders === "paused") return { ...nothing, stop: orders };
    if (facts.collecting) return { ...nothing, lanes: 1 };
    if (facts.ready > 0 && ownEntry(this.#settings.processors, facts.pipeline)) {
      return { ...nothing, lanes: Math.min(LANES, facts.ready) };
    }
    return this.#afterStall(facts);
  }

  async #facts(): Promise<(StallFacts & { now: Date }) | undefined> {
    const { id } = this.#ref;
    return (await readStalls(this.#db, [id])).get(id);
  }

  /** By the ledger; what is known of batches only says when to look into it. */
  async #isSettled(facts: StallFacts): Promise<boolean> {
    const { id, generation } = this.#ref;
    if (facts.collecting) return false;
    const unclosed = facts.ready + facts.leased;
    if (unclosed > 0 && facts.open > 0) return false;
    // Whoever posted the last results died before it closed their batches.
    if (unclosed > 0) {
      const batches = await openBatches(this.#db, id, generation);
      const closed = await closeSettledBatches(this.#db, id, generation, batches);
      if (closed < batches.length) return false;
    }
    return !(await hasOpenItem(this.#db, id, generation));
  }

  async #afterStall(facts: StallFacts & { now: Date }): Promise<JobLook> {
    const { id, generation } = this.#ref;
    const nowMs = facts.now.getTime();
    const dueIn = nextLookMs(facts, nowMs);
    const holdup = holdupOf(facts, nowMs);
    const waitsFor = holdup?.text ?? `${facts.open} items, ${facts.leased} batches of them held`;
    const waiting = { ...nothing, nextDueAt: Date.now() + dueIn, waitsFor };
    const warning = warnsOf(facts, nowMs);
    if (warning) await this.#tell(warning);
    switch (stallStep(facts, nowMs)) {
      case "repair": {
        const made = await this.#db.transaction(
          (tx) => repairBatches(tx, id, generation),
          OVER_ALL_ITEMS,
        );
        const what = made === 1 ? "1 batch" : `${made} batches`;
        await this.#tell(`${waitsFor}: made ${what} for what was missing`);
        return made > 0 ? { ...waiting, nextDueAt: Date.now() } : waiting;
      }
      case "end": {
        const { identity: by } = this.#settings;
        const ended = await this.#db.transaction(
          (tx) => endStuckJob(tx, { id, generation, by }),
          OVER_ALL_ITEMS,
        );
        return ended ? { ...nothing, complete: true } : waiting;
      }
      case "wait":
        return waiting;
    }
  }

  // A line of log is never a reason to fail.
  async #tell(message: string): Promise<void> {
    if (!this.#settings.persistLogs) return;
    const line = { operationId: this.#ref.id, level: "warn", message } as const;
    await appendLogs(this.#db, [line]).catch(() => undefined);
  }
}
