import type { HoldfastConfig } from "../contracts/config.ts";
import type { Begun, Finished, OperationRef, WorkReport } from "../contracts/messages.ts";
import { PLAN_EXPIRES_SECONDS } from "../contracts/plan.ts";
import { insertEvents } from "../db/events.ts";
import { finishOperation } from "../db/finish.ts";
import { registryOf, settingsOf } from "../db/inventory-settings.ts";
import { ownOperation } from "../db/locks.ts";
import { readOrders } from "../db/brakes.ts";
import { findOperation, lockOperation } from "../db/operations.ts";
import {
  applyStep,
  Halted,
  planStep,
  settleStep,
  type PlanStep,
} from "../db/plan-operation-apply.ts";
import {
  findPlan,
  readStanding,
  reopenPlan,
  settleEnded,
  tellWaiting,
  type PlanRow,
} from "../db/plan-operation.ts";
import { sumPlan } from "../db/plan-operation-view.ts";
import type { Db, Tx } from "../db/pool.ts";
import { countsLine, escalationOf, isExpired, nextLook } from "../domain/plan-operation.ts";
import { beating } from "./heartbeat.ts";
import { beginOperation } from "./operation.ts";

export interface PlanDeps {
  db: Db;
  config: HoldfastConfig;
  /** Stands in the ledger as who settled what. */
  identity: string;
  /** The worker is about to stop: work ends with its page and is handed back. */
  draining?: AbortSignal;
}

/** One call works about this long, then answers how far it came. */
const SLICE_MS = 60_000;

/** Beginning a plan: short. */
export const planControlActivities = ({ db, identity }: Pick<PlanDeps, "db" | "identity">) => ({
  /** Running, and what an earlier generation left open is to be planned anew. Safe to repeat. */
  beginPlan(ref: OperationRef): Promise<Begun> {
    return beating(async () => {
      if (await beginAnew(db, ref, identity)) {
        return { state: "running", ranges: [{ no: 1, from: 1, to: 1 }], window: 1 };
      }
      return { state: "gone", was: (await findOperation(db, ref.id))?.state ?? "erased" };
    });
  },
});

export const planActivities = ({ db, config, identity, draining }: PlanDeps) => {
  const work = (ref: OperationRef): Promise<WorkReport> =>
    beating((signal) => new PlanWork({ db, config, identity, draining }, ref, signal).run());

  return {
    /**
     * Does for a plan what can be done now: plans it, tells who has to decide, applies what is approved,
     * ends it when nobody decided in time. Safe to repeat at any point.
     */
    workPlan: work,

    /** Begins, works and, when nothing waits, finishes a usual plan in one go. Safe to repeat. */
    async planWhole(ref: OperationRef): Promise<{ finished: Finished } | { report: WorkReport }> {
      if (!(await beginAnew(db, ref, identity))) {
        return { finished: { state: "gone", counts: {} } };
      }
      const report = await work(ref);
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

// A look at a plan that waits is no new beginning: what began once is told once.
async function beginAnew(db: Db, ref: OperationRef, identity: string): Promise<boolean> {
  const row = await findOperation(db, ref.id);
  if (row?.state === "running" && row.generation === ref.generation) return true;
  return beginOperation(db, ref, identity, { alongside: (tx) => reopenPlan(tx, ref) });
}

/** One plan in the hands of one activity. */
class PlanWork {
  readonly #deps: PlanDeps;
  readonly #ref: OperationRef;
  readonly #signal: AbortSignal;
  #done = 0;

  constructor(deps: PlanDeps, ref: OperationRef, signal: AbortSignal) {
    this.#deps = deps;
    this.#ref = ref;
    this.#signal = signal;
  }

  async run(): Promise<WorkReport> {
    const { db, draining } = this.#deps;
    const sliceEnds = Date.now() + SLICE_MS;
    try {
      while (Date.now() < sliceEnds && !draining?.aborted) {
        this.#signal.throwIfAborted();
        const plan = await findPlan(db, this.#ref.id);
        if (!plan) return { done: this.#done, complete: false, stop: "gone" };
        const standing = await readStanding(db, this.#ref.id);
        if (standing.toPlan > 0) await this.#plan(plan);
        else if (standing.toApply > 0) await this.#apply(plan);
        else {
          const report = await this.#wait(plan);
          if (report) return report;
        }
      }
    } catch (error) {
      if (error instanceof Halted) return { done: this.#done, complete: false, stop: error.stop };
      throw error;
    }
    return { done: this.#done, complete: false };
  }

  async #plan(plan: PlanRow): Promise<void> {
    const { db } = this.#deps;
    const { step, rules, guard } = await this.#step(plan);
    this.#done += await planStep(db, step, { auto: plan.mode === "auto", rules, guard });
  }

  async #apply(plan: PlanRow): Promise<void> {
    const { step } = await this.#step(plan);
    this.#done += await applyStep(this.#deps.db, step, plan.mode === "auto");
  }

  /** Rules and registry are read with every step: that is how they are changed while it runs. */
  async #step(plan: PlanRow) {
    const { db, config, identity } = this.#deps;
    const { registry: name, rules, guard } = await settingsOf(db, config, plan.tenant);
    const registry = registryOf(config, name);
    const step: PlanStep = { generation: this.#ref.generation, plan, registry, by: identity };
    return { step, rules, guard };
  }

  /** Nothing to do but for people, or at all. Undefined: there is something to do after all. */
  async #wait(seen: PlanRow): Promise<WorkReport | undefined> {
    const { db } = this.#deps;
    if (isExpired(seen, seen.now.getTime())) return this.#expire();
    const told = await db.transaction((tx) => this.#tell(tx));
    if (told === "nothing waits") return { done: this.#done, complete: true };
    if (!told) return undefined;
    const { plan, line } = told;
    const now = plan.now.getTime();
    if (isExpired(plan, now)) return undefined;
    const nextDueAt = Date.now() + nextLook(plan, now) - now;
    const until = plan.expires_at!.toISOString();
    const waitsFor = `a decision about ${line}, open until ${until};`;
    return { done: this.#done, complete: false, nextDueAt, waitsFor };
  }

  async #tell(tx: Tx): Promise<{ plan: PlanRow; line: string } | "nothing waits" | undefined> {
    const { id, generation } = this.#ref;
    const plan = (await findPlan(tx, id))!;
    this.#done += await settleStep(tx, { plan, generation, by: this.#deps.identity });
    const { counts, changes, hash } = await sumPlan(tx, id);
    if (counts.planning > 0 || counts.approved > 0) return undefined;
    if (counts.waiting === 0) return "nothing waits";
    const line = countsLine(changes);
    const escalate = escalationOf(plan, plan.now.getTime());
    const isNew = plan.told_at === null || (counts.stale > 0 && plan.hash !== hash);
    if (!isNew && !escalate) return { plan, line };
    const { input } = (await findOperation(tx, id))!;
    const expiresInSeconds = Number(input["expiresInSeconds"] ?? PLAN_EXPIRES_SECONDS);
    await tellWaiting(tx, plan, hash, {
      expiresInSeconds,
      escalate,
      body: { waiting: counts.waiting, stale: counts.stale, changes },
    });
    return { plan: (await findPlan(tx, id))!, line };
  }

  /** Ends what nobody decided about in time; an approval that came before this counts. */
  async #expire(): Promise<WorkReport | undefined> {
    const { db, identity: by } = this.#deps;
    const { id, generation } = this.#ref;
    return db.transaction(async (tx) => {
      await ownOperation(tx, id);
      const orders = await readOrders(tx, id, generation);
      if (orders === "gone") return { done: this.#done, complete: true };
      if (orders !== "go") throw new Halted(orders);
      // Whoever decides has locked the operation's row first, and is done when this has it.
      await lockOperation(tx, id);
      const { toPlan, toApply, waiting } = await readStanding(tx, id);
      if (toPlan + toApply > 0) return undefined;
      await settleEnded(tx, { id, generation }, by);
      if (waiting === 0) return { done: this.#done, complete: true };
      const finished = await finishOperation(tx, {
        id,
        generation,
        by,
        outcome: "cancelled",
        reason: "expired",
        verdict: "expired",
      });
      await insertEvents(tx, [
        {
          type: "operation.expired",
          tenant: this.#ref.tenant,
          operationId: id,
          body: { operationId: id, kind: "plan", generation, counts: finished.counts },
        },
      ]);
      return { done: this.#done, complete: true };
    });
  }
}
