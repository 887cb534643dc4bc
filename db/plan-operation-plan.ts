import type { ChangeSet, Fields, PlanDecision } from "../contracts/inventory.ts";
import type { PlanGuard, PlanRule } from "../contracts/plan-rule.ts";
import { parseExactJson } from "../domain/exact-json.ts";
import { driveAsync, planBatch, type PlannedEntity } from "../domain/plan-batch.ts";
import { decideByRules, guardVerdict, type RuleVerdict } from "../domain/plan-rules.ts";
import type { Registry } from "../domain/registry.ts";
import { countChanged, openWindow } from "./inventory-guard.ts";
import { lookUp, objectIds, type InventoryPlace } from "./inventory-look-up.ts";
import type { PlanRow } from "./plan-operation.ts";
import {
  insertChangeSets,
  KEPT_CHANGE_SETS,
  settleEntities,
  trimChangeSets,
  type Settlement,
} from "./plan-settle.ts";
import type { Tx } from "./pool.ts";

/**
 * Planning an operation: each entity as if those before it were applied already, so that the whole shows
 * what it would do. Nothing is written into the inventory. What refers to an object that another entity
 * brings is planned after it, wherever it stands.
 */

export interface PlanRules {
  /** Rules apply what they name; else a person decides. */
  auto: boolean;
  rules: readonly PlanRule[];
  guard: PlanGuard;
}

interface Row {
  id: string;
  type: string;
  fields: Fields;
  warnings: string[];
  attempt: number;
  /** How many change sets it has had. */
  plans: number;
  /** To be planned; else it has a plan, and stands here for those after it. */
  due: boolean;
  /** Somebody, or a rule, has decided about it. */
  decided: boolean;
  /** Hash of the plan that is approved, of what is only planned again. */
  approved: string | null;
}

/** Approvals by rule that came to nothing; after so many a person has to look. */
const MOST_TRIES = 5;

/**
 * Plans what is to be planned of an operation, in the transaction that holds its branch. Answers how many
 * entities it planned; all of them have ended, wait for a decision, or are to be applied.
 */
export async function planOperation(
  tx: Tx,
  registry: Registry,
  plan: PlanRow,
  how: PlanRules,
): Promise<number> {
  const where = { tenant: plan.tenant, branch: plan.branch };
  const rows = await openEntities(tx, plan.operation_id);
  const due = rows.filter((row) => row.due).length;
  if (due === 0) return 0;
  const verdicts = new Map<Row, RuleVerdict>();
  const decide = (no: number, changeSet: ChangeSet): PlanDecision => {
    const row = rows[no]!;
    if (!row.due) return "apply";
    const facts = { type: row.type, entity: row, branch: where.branch, changeSet };
    const verdict = decideByRules(how.rules, how.auto ? "auto" : "plan-only", facts);
    verdicts.set(row, verdict);
    return verdict.decision === "ignore" ? "ignore" : "apply";
  };
  const newId = await objectIds(tx);
  const { entities, order } = await driveAsync(
    planBatch({ registry, entities: rows, newId, decide, inAnyOrder: true }),
    (wanted) => lookUp(tx, where, wanted),
  );
  const planned = order.map((no): Planned => ({ row: rows[no]!, outcome: entities[no]! }));
  await guarded(tx, where, how, planned, verdicts);
  await note(tx, planned, verdicts);
  return due;
}

/** Those that have a plan in the order of their plans, then the others in that of their acceptance. */
async function openEntities(tx: Tx, operation: string): Promise<Row[]> {
  const { rows } = await tx.query<
    Omit<Row, "fields" | "warnings"> & {
      fields: string;
      warnings: string[] | null;
      planned: string | null;
    }
  >(
    `select e.id, e.type, e.fields::text as fields, e.warnings, e.attempt, e.plans,
            e.state in (1, 9) as due, e.decided_at is not null as decided,
            encode(e.approved_hash, 'hex') as approved,
            (select max(c.id) from holdfast.change_sets c where c.entity = e.id) as planned
       from holdfast.entities e
      where e.operation = $1 and e.state in (1, 2, 9)
      order by e.id for update of e`,
    [operation],
  );
  // Locked in order of id, as whoever decides about them does.
  return rows
    .toSorted((a, b) => Number(a.due) - Number(b.due) || (a.due ? 0 : place(a) - place(b)))
    .map((row) => ({
      ...row,
      fields: parseExactJson(row.fields) as Fields,
      warnings: row.warnings ?? [],
    }));
}

function place({ planned }: { planned: string | null }): number {
  return Number(planned ?? 0);
}

interface Planned {
  row: Row;
  outcome: PlannedEntity;
}

/** What rules would apply waits for a person, all of it, where it is more than may change at once. */
async function guarded(
  tx: Tx,
  place: InventoryPlace,
  { auto, guard }: PlanRules,
  planned: readonly Planned[],
  verdicts: Map<Row, RuleVerdict>,
): Promise<void> {
  if (!auto) return;
  const changed = planned
    .filter(({ row }) => verdicts.get(row)?.decision === "apply" && !isCounted(row))
    .flatMap(({ outcome }) => (outcome.outcome === "planned" ? outcome.changeSet.changes : []))
    .filter(({ kind }) => kind === "update" || kind === "delete").length;
  const window = await openWindow(tx, place);
  const verdict = guardVerdict(guard, window, changed);
  if (verdict.verdict === "go" && window.heldBecause === undefined) {
    return countChanged(tx, place, changed, undefined);
  }
  for (const [row, { decision }] of verdicts) {
    if (decision === "apply") verdicts.set(row, { decision: "review" });
  }
}

/** What a rule has let pass before is in the window already. */
function isCounted({ decided, attempt }: Row): boolean {
  return decided && attempt > 0;
}

/** Change sets of one statement: writing them down as text keeps the process from everything else. */
const AT_ONCE = 1_000;

async function note(
  tx: Tx,
  planned: readonly Planned[],
  verdicts: ReadonlyMap<Row, RuleVerdict>,
): Promise<void> {
  const due = planned.filter(({ row }) => row.due);
  const byRule: string[] = [];
  const stillApproved: string[] = [];
  const settled = due.map(({ row, outcome }): Settlement => {
    const { id, attempt, decided, approved } = row;
    if (outcome.outcome === "unchanged" || outcome.outcome === "superseded") {
      return { id, state: "no_changes", attempt };
    }
    if (outcome.outcome === "failed") {
      const { waitsFor: _, ...fault } = outcome.error;
      return { id, state: "failed", error: { ...fault, title: outcome.title }, attempt };
    }
    const { decision, rule } = verdicts.get(row) ?? { decision: "review" };
    const planHash = outcome.changeSet.hash;
    if (decision === "ignore") return { id, state: "ignored", planHash, rule, attempt };
    if (approved === planHash) stillApproved.push(id);
    else if (approved !== null) {
      const message = "it would do something else than what was approved: look again";
      const error = { fault: "changed-since-approval", message };
      return { id, state: "open", planHash, rule, error, attempt };
    } else if (decision === "apply" && attempt < MOST_TRIES) byRule.push(id);
    else if (decided && attempt > 0) {
      const message = "what it refers to was not there when it was to be applied: look again";
      const error = { fault: "changed-since-approval", message };
      return { id, state: "open", planHash, rule, error, attempt };
    }
    return { id, state: "open", planHash, rule, attempt };
  });
  const changeSets = due.flatMap(({ row, outcome }) =>
    outcome.outcome === "planned"
      ? { entity: row.id, changeSet: outcome.changeSet, applied: false }
      : [],
  );
  for (let from = 0; from < changeSets.length; from += AT_ONCE) {
    await insertChangeSets(tx, changeSets.slice(from, from + AT_ONCE));
  }
  await settleEntities(tx, settled);
  await trimChangeSets(
    tx,
    due.flatMap(({ row }) => (row.plans >= KEPT_CHANGE_SETS ? row.id : [])),
  );
  await approveByRule(tx, byRule);
  await approveStill(tx, stillApproved);
}

async function approveByRule(tx: Tx, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await tx.query(
    `update holdfast.entities
        set approved_hash = plan_hash, decided_by = 'rule ' || rule, decided_at = clock_timestamp()
      where id = any ($1::bigint[]) and state = 2`,
    [ids],
  );
}

/** What came to the same as the plan that was approved. */
async function approveStill(tx: Tx, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await tx.query(
    `update holdfast.entities set approved_hash = plan_hash
      where id = any ($1::bigint[]) and state = 2`,
    [ids],
  );
}

/** While a branch is held, what rules approved in it waits for a person. */
export async function waitWhileHeld(
  tx: Tx,
  place: InventoryPlace,
  operation: string,
): Promise<void> {
  const { heldBecause } = await openWindow(tx, place);
  if (heldBecause === undefined) return;
  await tx.query(
    `update holdfast.entities e
        set approved_hash = null, decided_by = null, decided_at = null
       from (select id from holdfast.entities
              where operation = $1 and state = 2 and approved_hash is not null
                and starts_with(decided_by, 'rule ')
              order by id for update) h
      where e.id = h.id`,
    [operation],
  );
}

/**
 * Entities that a rule had approved and that changed before they were applied: planned again, and the
 * rules decide again. Answers how many.
 */
export async function planChangedAgain(tx: Tx, operation: string): Promise<number> {
  const { rowCount } = await tx.query(
    `update holdfast.entities
        set state = 1, attempt = attempt + 1, error = null
      where operation = $1 and state = 2 and approved_hash is null and attempt < ${MOST_TRIES}
        and error ->> 'fault' = 'changed-since-approval' and starts_with(decided_by, 'rule ')`,
    [operation],
  );
  return rowCount ?? 0;
}
