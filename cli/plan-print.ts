import type { PlanClient } from "../client/index.ts";
import { exactJson } from "../client/exact-json.ts";
import { InvalidInput } from "../contracts/errors.ts";
import type { Change } from "../contracts/inventory.ts";
import type { PlanEntity, PlanView } from "../contracts/plan.ts";
import type { ChangeCounts } from "../contracts/review.ts";
import { moment, paint, say, text } from "./output.ts";

/** How plans and changes look as text: what is added, changed and removed, attribute by attribute. */

/** Entities that are shown one by one; a plan of many more is for `--json`, or the console. */
const MOST_SHOWN = 1_000;

export async function printPlan(plan: PlanClient, view: PlanView): Promise<void> {
  let shown = 0;
  for await (const entity of entitiesOf(plan, view)) {
    if (++shown > MOST_SHOWN) break;
    printEntity(entity);
  }
  if (shown > MOST_SHOWN) say(`... and ${view.total - MOST_SHOWN} more (--json prints all)\n`);
  for (const line of summaryOf(view)) say(line);
}

/** Those of these that have a plan; answers them. */
export async function printEntities(
  plan: PlanClient,
  view: PlanView,
  ids: ReadonlySet<string>,
): Promise<PlanEntity[]> {
  const shown: PlanEntity[] = [];
  for await (const entity of entitiesOf(plan, view)) {
    if (!ids.has(entity.id) || entity.planHash === null) continue;
    printEntity(entity);
    shown.push(entity);
  }
  if (shown.length === 0) {
    const message = `none of plan ${view.id} has a plan: see "holdfast plan show ${view.id}"`;
    throw new InvalidInput([{ path: "--entity", message }]);
  }
  return shown;
}

/** The view, with what it changes entity by entity. */
export async function printPlanJson(plan: PlanClient, view: PlanView): Promise<void> {
  const entities: PlanEntity[] = [];
  for await (const entity of entitiesOf(plan, view)) entities.push(entity);
  say(exactJson({ ...view, entities }, 2));
}

async function* entitiesOf(plan: PlanClient, { id }: PlanView): AsyncIterable<PlanEntity> {
  for (let after = 0; ;) {
    const { items, next } = await plan.changes(id, { after, limit: 500 });
    yield* items;
    if (next === undefined) return;
    after = Number(next);
  }
}

const BEHIND: Record<PlanEntity["state"], string> = {
  planning: "not planned yet",
  waiting: "",
  approved: "approved, to be applied",
  applied: "applied",
  unchanged: "",
  rejected: "rejected",
  failed: "failed",
  cancelled: "not applied",
};

function printEntity(entity: PlanEntity): void {
  const { state, title, changes, error, stale, rule } = entity;
  if (state === "unchanged") return;
  const said = [
    stale ? "changed since it was approved" : BEHIND[state],
    rule && `rule ${rule}`,
  ].filter(Boolean);
  say(
    `${paint("bold", `# ${text(title)}`)}  ${paint("dim", `[${entity.id}]${said.length > 0 ? ` ${text(said.join(", "))}` : ""}`)}`,
  );
  if (error && state !== "waiting") say(`  ${paint("red", text(error.message))}`);
  for (const warning of entity.warnings) say(`  ${paint("yellow", `warning: ${text(warning)}`)}`);
  printChanges(changes);
  say();
}

const SIGNS = { create: "+", update: "~", delete: "-", noop: " " } as const;
const COLOURS = { create: "green", update: "yellow", delete: "red", noop: "dim" } as const;

export function printChanges(changes: readonly Change[]): void {
  for (const change of changes) {
    if (change.kind === "noop") continue;
    const named = Object.entries(change.identity).map(([name, value]) => `${name}=${shown(value)}`);
    say(
      paint(
        COLOURS[change.kind],
        `  ${SIGNS[change.kind]} ${change.type} ${text(named.join(" "))}`,
      ),
    );
    for (const line of attributesOf(change)) say(`      ${line}`);
  }
}

function attributesOf({ kind, before, after }: Change): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].toSorted();
  const width = Math.max(0, ...names.map((name) => name.length));
  return names.map((name) => {
    const value =
      kind === "create"
        ? shown(after[name])
        : kind === "delete"
          ? shown(before[name])
          : `${shown(before[name])} -> ${shown(after[name])}`;
    return `${name.padEnd(width)} = ${text(value)}`;
  });
}

function shown(value: unknown): string {
  return value === undefined ? "(none)" : exactJson(value);
}

function summaryOf(view: PlanView): string[] {
  const { counts, changes, applied, hash } = view;
  const lines: string[] = [];
  if (sum(applied) > 0) {
    lines.push(
      `Applied: ${applied.create} created, ${applied.update} changed, ${applied.delete} removed.`,
    );
  }
  if (counts.waiting + counts.approved > 0) {
    lines.push(
      `Plan: ${changes.create} to create, ${changes.update} to change, ${changes.delete} to remove.`,
    );
  } else if (sum(applied) === 0 && counts.planning === 0 && counts.failed === 0) {
    lines.push("No changes.");
  }
  const ends = [
    counts.waiting > 0 && `${counts.waiting} waiting`,
    counts.planning > 0 && `${counts.planning} not planned yet`,
    counts.unchanged > 0 && `${counts.unchanged} unchanged`,
    counts.approved > 0 && `${counts.approved} approved, to be applied`,
    counts.applied > 0 && `${counts.applied} applied`,
    counts.rejected > 0 && `${counts.rejected} rejected`,
    counts.failed > 0 && `${counts.failed} failed`,
    counts.cancelled > 0 && `${counts.cancelled} not applied`,
    counts.stale > 0 && `${counts.stale} changed since approved`,
  ].filter((end) => end !== false);
  if (ends.length > 0) lines.push(`Entities: ${ends.join(", ")}.`);
  const reason = view.reason === null ? "" : ` (${text(view.reason)})`;
  lines.push(`Plan ${view.id}: ${view.shown}${reason}.`);
  if (counts.waiting > 0 && view.finishedAt === null && hash !== null) {
    const until = view.expiresAt === null ? "" : ` until ${moment(view.expiresAt)}`;
    lines.push(
      `It waits for a decision${until}:`,
      `  holdfast plan approve ${view.id} --hash ${hash}`,
    );
  }
  return lines;
}

function sum(counts: ChangeCounts): number {
  return counts.create + counts.update + counts.delete;
}
