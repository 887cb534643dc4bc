import { setTimeout as sleep } from "node:timers/promises";
import { Conflict, InvalidInput } from "../contracts/errors.ts";
import type { Accepted, OperationFilter, OperationView, Page } from "../contracts/operation.ts";
import {
  PlanDecide,
  PlanPages,
  type PlanEntity,
  type PlanHeader,
  type PlanView,
} from "../contracts/plan.ts";
import type { Decided } from "../contracts/review.ts";
import { insertAudit } from "../db/audit.ts";
import { findPlan, findPlans, readStanding, type PlanRow } from "../db/plan-operation.ts";
import {
  hashOfWaiting,
  holdWaiting,
  noteDecision,
  notOfPlan,
} from "../db/plan-operation-decide.ts";
import { listPlanEntities, sumPlans, type PlanSums } from "../db/plan-operation-view.ts";
import { findOperation, type OperationRow } from "../db/operations.ts";
import type { Tx } from "../db/pool.ts";
import { judge, wakePlansOf, writeDecisions, type Named } from "../db/review.ts";
import type { SubmitOptions } from "./accept.ts";
import { asking, maySee, type Context } from "./context.ts";
import { parseInput } from "./input.ts";
import { OperationId } from "../contracts/operation.ts";
import { unknownOperation } from "./operation-change.ts";
import { operationClient } from "./operation.ts";
import { viewOperations } from "./operation-view.ts";
import { submitPlan, submitPlanLines } from "./plan-submit.ts";
import { watch } from "./watch.ts";

/**
 * Named change requests: submitted, planned, shown, decided, applied. Cancel, pause and run again as any
 * operation.
 */
export interface PlanClient {
  /**
   * Accepts up to 10,000 entities in one transaction, the caller's if one is given; one that is wrong
   * refuses them all. With `key`, a repeat answers the same plan. @throws InvalidInput, TooLarge, Conflict, LimitExceeded
   */
  submit(
    entities: readonly unknown[],
    header?: PlanHeader,
    options?: SubmitOptions,
  ): Promise<Accepted>;
  /** The same from NDJSON, one entity a line. */
  submitLines(
    source: AsyncIterable<Uint8Array | string>,
    header?: PlanHeader,
    options?: SubmitOptions,
  ): Promise<Accepted>;
  /** @throws NotFound */
  get(id: string): Promise<PlanView>;
  /** Newest first. */
  list(filter?: Omit<OperationFilter, "kind">): Promise<Page<PlanView>>;
  /** What it changes, entity by entity, in the order they were submitted; as long as it is kept. */
  changes(id: string, page?: PlanPages): Promise<Page<PlanEntity>>;
  /**
   * All that waits, or the entities named. With the `hash` of the view, or the `planHash` of each entity
   * as `changes` showed it, only what was seen; without, whatever stands by now: look first, and give it.
   * Works while Temporal is down. @throws Conflict when the plan is another now, is still being planned, or has ended
   */
  approve(id: string, decision?: PlanDecide): Promise<Decided>;
  /** The same; what is rejected is not applied. */
  reject(id: string, decision?: PlanDecide): Promise<Decided>;
  /** Each change of the view until it has ended, that one included. */
  watch(id: string, options?: { signal?: AbortSignal; everyMs?: number }): AsyncIterable<PlanView>;
  /** The view, once it has ended. */
  wait(id: string, options?: { signal?: AbortSignal; everyMs?: number }): Promise<PlanView>;
  /** The view, once it waits for a decision or has ended. */
  planned(id: string, options?: { signal?: AbortSignal; everyMs?: number }): Promise<PlanView>;
}

const LOOK_EVERY_MS = 250;

export function planClient(context: Context): PlanClient {
  const { db } = context;
  const operations = operationClient(context);
  const client: PlanClient = {
    submit: (entities, header = {}, options = {}) =>
      asking(() => submitPlan(context, entities, header, options)),
    submitLines: (source, header = {}, options = {}) =>
      asking(() => submitPlanLines(context, source, header, options)),
    get: (id) => asking(() => getPlan(context, id)),
    list: (filter = {}) =>
      asking(async () => {
        const page = await operations.list({ ...filter, kind: "plan" });
        return { ...page, items: await plansOf(context, page.items) };
      }),
    changes: (id, page = {}) =>
      asking(async () => {
        const asked = parseInput(PlanPages, page);
        await visiblePlan(context, id);
        return listPlanEntities(db, id, asked);
      }),
    approve: (id, decision = {}) => asking(() => decidePlan(context, id, "approve", decision)),
    reject: (id, decision = {}) => asking(() => decidePlan(context, id, "reject", decision)),
    watch: (id, options = {}) => watch(() => client.get(id), options),
    wait: async (id, options) => {
      let last: PlanView | undefined;
      for await (const seen of client.watch(id, options)) last = seen;
      return last!;
    },
    planned: async (id, { signal, everyMs = LOOK_EVERY_MS } = {}) => {
      for (let seen = await client.get(id); ;) {
        if (isAtRest(seen)) return seen;
        // Whether it is at rest is quicker to say than all that it would change.
        if (isAtRest(await operations.get(id))) seen = await client.get(id);
        if (isAtRest(seen)) return seen;
        await sleep(everyMs, undefined, signal ? { signal } : {});
      }
    },
  };
  return client;
}

async function visiblePlan(
  context: Context,
  id: string,
): Promise<{ row: OperationRow; plan: PlanRow }> {
  parseInput(OperationId, id, "id");
  const row = await findOperation(context.db, id);
  const plan = row?.kind === "plan" ? await findPlan(context.db, id) : undefined;
  if (!row || !plan || !maySee(context, row.tenant)) throw unknownOperation(id);
  return { row, plan };
}

function isAtRest({ finishedAt, shown }: OperationView): boolean {
  return finishedAt !== null || shown === "waiting for a decision";
}

async function getPlan(context: Context, id: string): Promise<PlanView> {
  const { row } = await visiblePlan(context, id);
  const [plan] = await plansOf(context, await viewOperations(context.db, [row]));
  if (!plan) throw unknownOperation(id);
  return plan;
}

/** In as many statements for all of them as for one. */
async function plansOf({ db }: Context, views: readonly OperationView[]): Promise<PlanView[]> {
  const ids = views.map(({ id }) => id);
  const plans = new Map((await findPlans(db, ids)).map((plan) => [plan.operation_id, plan]));
  const sums = await sumPlans(db, ids);
  return views.flatMap((view) => {
    const plan = plans.get(view.id);
    return plan ? planView(view, plan, sums.get(view.id)!) : [];
  });
}

function planView(view: OperationView, plan: PlanRow, sums: PlanSums): PlanView {
  const { counts, changes, applied, hash } = sums;
  return {
    ...view,
    branch: plan.branch,
    mode: plan.mode,
    counts,
    changes,
    applied,
    hash: counts.planning === 0 ? hash : null,
    decision:
      plan.decision === null
        ? null
        : {
            what: plan.decision,
            by: plan.decided_by!,
            at: plan.decided_at!.toISOString(),
            reason: plan.reason,
          },
    plannedAt: plan.planned_at?.toISOString() ?? null,
    expiresAt: plan.expires_at?.toISOString() ?? null,
    escalatedAt: plan.escalated_at?.toISOString() ?? null,
  };
}

async function decidePlan(
  context: Context,
  id: string,
  act: "approve" | "reject",
  given: PlanDecide,
): Promise<Decided> {
  const { hash, entities, planHashes, reason } = parseInput(PlanDecide, given);
  if (hash !== undefined && entities !== undefined) {
    const message = "is of the whole plan: leave out the entities, or the hash";
    throw new InvalidInput([{ path: "hash", message }]);
  }
  const { row } = await visiblePlan(context, id);
  const { db, actor } = context;
  return db.transaction(async (tx) => {
    await wakePlansOf(tx, { tenant: row.tenant, act, operation: id });
    await assertOpen(tx, id);
    const decided = entities
      ? await decideSome(tx, row, act, seenPlans(entities, planHashes), { by: actor, reason })
      : await decideWhole(tx, row, act, hash, { by: actor, reason });
    if (decided.decided > 0) {
      await insertAudit(tx, {
        actor,
        action: `plan.${act}`,
        tenant: row.tenant,
        subject: id,
        after: { hash, decided: decided.decided, whole: entities === undefined, reason },
      });
    }
    return decided;
  });
}

/** Each entity once, with the plan of it that was seen. */
function seenPlans(ids: readonly string[], hashes: readonly string[] | undefined): Named[] {
  const seen = new Map(ids.map((id, no) => [id, hashes?.[no]]));
  return [...seen].map(([id, hash]) => ({ id, seen: hash }));
}

async function assertOpen(tx: Tx, id: string): Promise<void> {
  const row = await findOperation(tx, id);
  if (!row || row.finished_at !== null) {
    const next =
      row?.state === "completed" ? "submit a new one" : "run it again, or submit a new one";
    const why = row?.reason ? ` (${row.reason})` : "";
    throw new Conflict("already-ended", `plan ${id} is ${row?.state ?? "gone"}${why}: ${next}`);
  }
  if (row.cancel_requested_at !== null) {
    throw new Conflict("already-ended", `plan ${id} is being cancelled: submit a new one`);
  }
}

interface Who {
  by: string;
  reason: string | undefined;
}

async function decideWhole(
  tx: Tx,
  { id }: OperationRow,
  act: "approve" | "reject",
  hash: string | undefined,
  who: Who,
): Promise<Decided> {
  const waiting = await holdWaiting(tx, id);
  const { toPlan } = await readStanding(tx, id);
  if (toPlan > 0) {
    throw new Conflict(
      "still-planning",
      `plan ${id} is not planned yet: wait until it is, and look at it`,
    );
  }
  const now = hashOfWaiting(waiting);
  if (hash !== undefined && hash !== now) {
    const is = now === null ? "nothing of it waits for a decision" : `it is ${now}`;
    throw new Conflict("plan-changed", `the plan is another now (${is}): look at it again`, {
      hash: now,
    });
  }
  if (now === null) {
    throw new Conflict("nothing-to-decide", `nothing of plan ${id} waits for a decision`);
  }
  await writeDecisions(
    tx,
    waiting.map((one) => one.id),
    { act, ...who },
  );
  await noteDecision(tx, id, act, who.by, who.reason);
  return { decided: waiting.length, refused: [] };
}

async function decideSome(
  tx: Tx,
  { id, tenant }: OperationRow,
  act: "approve" | "reject",
  entities: readonly Named[],
  who: Who,
): Promise<Decided> {
  const ids = entities.map((one) => one.id);
  const strange = new Set(await notOfPlan(tx, id, ids));
  const named = entities.filter((one) => !strange.has(one.id));
  const judged = await judge(tx, tenant, act, named);
  const free = judged.flatMap((one) => (one.refused === undefined ? one.id : []));
  await writeDecisions(tx, free, { act, ...who });
  const refused = judged.flatMap(({ id: one, refused: why }) =>
    why === undefined ? [] : { id: one, why },
  );
  const others = [...strange].map((one) => ({ id: one, why: `is no entity of plan ${id}` }));
  return { decided: free.length, refused: [...refused, ...others] };
}
