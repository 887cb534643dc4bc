import type { Registry } from "../domain/registry.ts";
import { readOrders } from "./brakes.ts";
import { namesAreKept } from "./inventory-keys.ts";
import { ownInventory, shareOperation } from "./locks.ts";
import { planAndApply } from "./plan-apply.ts";
import { settleEnded, type PlanRow } from "./plan-operation.ts";
import {
  planChangedAgain,
  planOperation,
  waitWhileHeld,
  type PlanRules,
} from "./plan-operation-plan.ts";
import type { Db, Tx } from "./pool.ts";

/** The steps of a plan operation. In each the ledger is settled with what it is about. */

export interface PlanStep {
  generation: number;
  plan: PlanRow;
  registry: Registry;
  /** Stands in the ledger as who settled what. */
  by: string;
}

/** The operation may not go on; nothing was done. */
export class Halted extends Error {
  readonly stop: "cancelled" | "paused" | "gone";
  constructor(stop: Halted["stop"]) {
    super(`the operation is ${stop}`);
    this.stop = stop;
  }
}

/** Ends items whose entities people have decided not to apply. Answers how many. @throws Halted */
export async function settleStep(
  tx: Tx,
  { plan, generation, by }: Omit<PlanStep, "registry">,
): Promise<number> {
  const { operation_id: id } = plan;
  await shareOperation(tx, id);
  const orders = await readOrders(tx, id, generation);
  if (orders !== "go") throw new Halted(orders);
  return settleEnded(tx, { id, generation }, by);
}

const PLAN_STATEMENT_MS = 60_000;

/** Plans what is to be planned. Answers how many items that settled. @throws Halted */
export async function planStep(db: Db, step: PlanStep, rules: PlanRules): Promise<number> {
  const work = async (tx: Tx) => {
    await admitted(tx, step);
    if (!(await namesAreKept(tx, step.plan, step.registry))) return undefined;
    await planOperation(tx, step.registry, step.plan, rules);
    return settled(tx, step);
  };
  for (;;) {
    const how = { statementTimeoutMs: PLAN_STATEMENT_MS, withoutJit: true };
    const done = await db.transaction(work, how);
    if (done !== undefined) return done;
  }
}

/** What of the plan is approved, so many at a time. */
const PAGE = 1_000;
/** What is missing is planned again by the plan itself, which knows what is still to come. */
const RETRY = { attempts: 30_000, firstSeconds: 0, mostSeconds: 0 };

/**
 * Applies the next of what is approved; what would do something else by now waits again. Answers how
 * many items that settled. @throws Halted
 */
export async function applyStep(db: Db, step: PlanStep, auto: boolean): Promise<number> {
  const { tenant, branch, operation_id: operation } = step.plan;
  let done = 0;
  // The core has its own transactions: one a batch, more when the inventory refuses one.
  const beside: Db = {
    ...db,
    transaction: (work, how) =>
      db.transaction(async (tx) => {
        await admitted(tx, step);
        if (auto) await waitWhileHeld(tx, { tenant, branch }, operation);
        const answer = await work(tx);
        if (auto) await planChangedAgain(tx, operation);
        done += await settled(tx, step);
        return answer;
      }, how),
  };
  await planAndApply(
    beside,
    step.registry,
    { tenant, branch, operation },
    { mode: "plan-only", rules: [], limit: PAGE, retry: RETRY },
  );
  return done;
}

async function admitted(tx: Tx, { plan, generation }: PlanStep): Promise<void> {
  await shareOperation(tx, plan.operation_id);
  const orders = await readOrders(tx, plan.operation_id, generation);
  if (orders !== "go") throw new Halted(orders);
  await ownInventory(tx, plan.tenant, plan.branch);
}

function settled(tx: Tx, { plan, generation, by }: PlanStep): Promise<number> {
  return settleEnded(tx, { id: plan.operation_id, generation }, by);
}
