import { operationActivities } from "../../activities/operation.ts";
import { reviewActivities } from "../../activities/review.ts";
import type { Entity, Fields } from "../../contracts/inventory.ts";
import type { BatchRange, Finished, OperationRef, WorkReport } from "../../contracts/messages.ts";
import type { ReviewSubmit } from "../../contracts/review.ts";
import { ingest } from "../../db/inbox.ts";
import { findOperation } from "../../db/operations.ts";
import { planAndApply, type PlanApplyOptions } from "../../db/plan-apply.ts";
import type { Db } from "../../db/pool.ts";
import { fresh, type Fresh } from "./fresh.ts";
import { SMALL_REGISTRY } from "./inventory-feeds.ts";
import { place, PLANNED } from "./planning.ts";
import { inActivity } from "./retaining.ts";

/** Entities that were taken in and planned, for people to decide about. */

export const owner = (name: string, level = 1): Entity => said("owner", { name, level });
export const said = (type: string, fields: Fields): Entity => ({ type, fields, warnings: [] });

export interface ReviewWorker {
  begin(ref: OperationRef): Promise<unknown>;
  pages(ref: OperationRef, range?: BatchRange): Promise<WorkReport>;
  whole(ref: OperationRef): Promise<{ finished: Finished } | { report: WorkReport }>;
  finish(ref: OperationRef): Promise<Finished>;
}

export function reviewWorker(db: Db): ReviewWorker {
  const deps = { db, identity: "worker" };
  const { reviewPages, reviewWhole } = reviewActivities(deps);
  const { begin, finish } = operationActivities(deps);
  return {
    begin: (ref) => inActivity(() => begin(ref)),
    pages: (ref, range = { no: 1, from: 1, to: 1_000 }) =>
      inActivity(() => reviewPages(ref, range)),
    whole: (ref) => inActivity(() => reviewWhole(ref)),
    finish: (ref) =>
      inActivity(() => finish(ref, { outcome: "failed", reason: "left open by its workflow" })),
  };
}

export interface Reviewing extends Fresh {
  take(...entities: Entity[]): Promise<string>;
  /** Plans what is due, and applies what is approved. */
  plan(options?: Partial<PlanApplyOptions>): ReturnType<typeof planAndApply>;
  /** Ids in order of acceptance. */
  ids(): Promise<string[]>;
  submit(review: ReviewSubmit): Promise<OperationRef>;
}

export async function reviewing(): Promise<Reviewing> {
  const made = await fresh(PLANNED);
  const { db, holdfast } = made;
  return {
    ...made,
    async take(...entities) {
      const { request } = await db.transaction((tx) =>
        ingest(tx, SMALL_REGISTRY, { ...place, source: "test", entities }),
      );
      return request;
    },
    plan: (options = {}) =>
      planAndApply(db, SMALL_REGISTRY, place, { mode: "plan-only", rules: [], ...options }),
    async ids() {
      const { rows } = await db.query<{ id: string }>(
        "select id from holdfast.entities order by id",
      );
      return rows.map(({ id }) => id);
    },
    async submit(review) {
      const { id: operation } = await holdfast.review.submit(review);
      const { kind, tenant, scope, generation, total, priority } = (await findOperation(
        db,
        operation,
      ))!;
      return { kind, id: operation, tenant, scope, generation, total, priority };
    },
  };
}
