import { setTimeout as sleep } from "node:timers/promises";
import { Conflict, InvalidInput } from "../contracts/errors.ts";
import type { Accepted, OperationFilter, Page } from "../contracts/operation.ts";
import {
  PlanDecide,
  PlanPages,
  type PlanEntity,
  type PlanHeader,
  type PlanView,
} from "../contracts/plan.ts";
import type { Decided } from "../contracts/review.ts";
import { insertAudit } from "../db/audit.ts";
import { findPlan, type PlanRow } from "../db/plan-operation.ts";
import {
  hashOfWaiting,
  holdWaiting,
  noteDecision,
  notOfPlan,
  waitingEntities,
} from "../db/plan-operation-decide.ts";
import { listPlanEntities, sumPlan } from "../db/plan-operation-view.ts";
import { findOperation, type OperationRow } from "../db/operations.ts";
import type { Tx } from "../db/pool.ts";
import { judge, wakePlansOf, writeDecisions } from "../db/review.ts";
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
   * All that waits, or the entities named. With `hash`, only the plan that was seen. Works while
   * Temporal is down. @throws Conflict when the plan is another now, is still being planned, or has ended
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
        const items = await Promise.all(page.items.map(({ id }) => getPlan(context, id)));
        return { ...page, items };
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
      for (;;) {
        const view = await client.get(id);
        if (view.finishedAt !== null || view.shown === "waiting for a decision") return view;
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

async function getPlan(context: Context, id: string): Promise<PlanView> {
  const { db } = context;
  const { row, plan } = await visiblePlan(context, id);
  const [view] = await viewOperations(db, [row]);
  const { counts, changes, applied } = await sumPlan(db, id);
  const settled = counts.planning === 0;
  return {
    ...view!,
    branch: plan.branch,
    mode: plan.mode,
    counts,
    changes,
    applied,
    hash: settled ? hashOfWaiting(await waitingEntities(db, id)) : null,
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
  const { hash, entities, reason } = parseInput(PlanDecide, given);
  if (hash !== undefined && entities !== undefined) {
    const message = "is of the whole plan: leave out the entities, or the hash";
    throw new InvalidInput([{ path: "hash", message }]);
  }
  const { row } = await visiblePlan(context, id);
  const { db, actor } = context;
  return db.transaction(async (tx) => {
    await wakePlansOf(tx, row.tenant, id);
    await assertOpen(tx, id);
    const decided = entities
      ? await decideSome(tx, row, act, entities, { by: actor, reason })
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

async function assertOpen(tx: Tx, id: string): Promise<void> {
  const row = await findOperation(tx, id);
  if (!row || row.finished_at !== null) {
    throw new Conflict(
      "already-ended",
      `plan ${id} is ${row?.state ?? "gone"}${row?.reason ? ` (${row.reason})` : ""}: run it again, or submit a new one`,
    );
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
  const { counts } = await sumPlan(tx, id);
  if (counts.planning > 0) {
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
  entities: readonly string[],
  who: Who,
): Promise<Decided> {
  const strange = new Set(await notOfPlan(tx, id, entities));
  const named = [...new Set(entities)].filter((one) => !strange.has(one));
  const judged = await judge(
    tx,
    tenant,
    act,
    named.map((one) => ({ id: one })),
  );
  const free = judged.flatMap((one) => (one.refused === undefined ? one.id : []));
  await writeDecisions(tx, free, { act, ...who });
  const refused = judged.flatMap(({ id: one, refused: why }) =>
    why === undefined ? [] : { id: one, why },
  );
  const others = [...strange].map((one) => ({ id: one, why: `is no entity of plan ${id}` }));
  return { decided: free.length, refused: [...refused, ...others] };
}
