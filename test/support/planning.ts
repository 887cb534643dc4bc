import { operationActivities } from "../../activities/operation.ts";
import { planActivities, planControlActivities } from "../../activities/plan.ts";
import type { HoldfastConfig } from "../../contracts/config.ts";
import type { Begun, Finished, OperationRef, WorkReport } from "../../contracts/messages.ts";
import type { PlanHeader } from "../../contracts/plan.ts";
import { findOperation } from "../../db/operations.ts";
import type { Db } from "../../db/pool.ts";
import { fresh, type Fresh } from "./fresh.ts";
import { PLANNED } from "./planning-config.ts";
import { inActivity } from "./retaining.ts";

/** Plans of a small registry, worked by activities that a test calls itself. */

export { PLANNED };

export const place = { tenant: "default", branch: "main" };

/** An entity as people send it. */
export function sent(type: string, fields: object): object {
  return { object_type: type, entity: fields };
}

export interface PlanWorker {
  begin(ref: OperationRef): Promise<Begun>;
  work(ref: OperationRef): Promise<WorkReport>;
  whole(ref: OperationRef): Promise<{ finished: Finished } | { report: WorkReport }>;
  finish(ref: OperationRef, outcome?: "failed" | "cancelled"): Promise<Finished>;
}

export function planWorker(db: Db, config: HoldfastConfig = PLANNED): PlanWorker {
  const deps = { db, config, identity: "worker" };
  const { workPlan, planWhole } = planActivities(deps);
  const { beginPlan } = planControlActivities(deps);
  const { finish } = operationActivities(deps);
  return {
    begin: (ref) => inActivity(() => beginPlan(ref)),
    work: (ref) => inActivity(() => workPlan(ref)),
    whole: (ref) => inActivity(() => planWhole(ref)),
    finish: (ref, outcome = "failed") =>
      inActivity(() =>
        finish(ref, {
          outcome,
          reason: outcome === "failed" ? "left open by its workflow" : "cancelled on request",
        }),
      ),
  };
}

export interface Planning extends Fresh {
  working: PlanWorker;
  submit(entities: readonly object[], header?: PlanHeader): Promise<OperationRef>;
  refOf(id: string): Promise<OperationRef>;
  /** Works until it waits or has ended, as its workflow would. */
  on(ref: OperationRef, by?: PlanWorker): Promise<WorkReport | Finished>;
}

export async function planning(config: HoldfastConfig = PLANNED): Promise<Planning> {
  const made = await fresh(config);
  const working = planWorker(made.db, config);
  const plans: Planning = {
    ...made,
    working,
    async submit(entities, header) {
      const { id } = await made.holdfast.plan.submit(entities, header);
      return plans.refOf(id);
    },
    refOf: (id) => readRef(made.db, id),
    on: (ref, by = working) => toRest(by, ref),
  };
  return plans;
}

/** Works a plan that somebody submitted until it waits or has ended. */
export async function worked(
  db: Db,
  id: string,
  config: HoldfastConfig = PLANNED,
): Promise<WorkReport | Finished> {
  return toRest(planWorker(db, config), await readRef(db, id));
}

async function toRest(by: PlanWorker, ref: OperationRef): Promise<WorkReport | Finished> {
  for (let calls = 0; calls < 50; calls++) {
    const answer = await by.whole(ref);
    if ("finished" in answer) return answer.finished;
    const { report } = answer;
    if (report.stop === "cancelled") return by.finish(ref, "cancelled");
    if (report.stop || report.nextDueAt !== undefined) return report;
  }
  throw new Error(`plan ${ref.id} comes to no rest`);
}

async function readRef(db: Db, id: string): Promise<OperationRef> {
  const row = await findOperation(db, id);
  const { kind, tenant, scope, generation, total, priority } = row!;
  return { kind, id, tenant, scope, generation, total, priority };
}
