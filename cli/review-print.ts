import { exactJson } from "../client/exact-json.ts";
import type { Page } from "../contracts/operation.ts";
import type { Deviation, DeviationDetail } from "../contracts/review.ts";
import { moment, paint, printFields, printPage, printTable, say, text } from "./output.ts";
import { printChanges } from "./plan-print.ts";

/** How entities with their plans look as text. */

export async function printDeviations(page: Page<Deviation>, json?: boolean): Promise<void> {
  await printPage(page, {
    json,
    head: ["ID", "STATE", "CHANGES", "TYPE", "BRANCH", "ACCEPTED", "WHAT"],
    row: (one) => [
      one.id,
      one.approved ? "approved" : one.state,
      changesOf(one),
      one.type,
      one.branch,
      moment(one.acceptedAt),
      one.title + (one.error ? `: ${one.error.message}` : ""),
    ],
    none: "nothing found: nothing waits for a decision, or the filter is too narrow",
  });
}

function changesOf({ planHash, changes }: Deviation): string | null {
  if (planHash === null) return null;
  const { create, update, delete: removed } = changes;
  return `+${create} ~${update} -${removed}`;
}

export function printDeviationJson(detail: DeviationDetail): void {
  say(exactJson(detail, 2));
}

export async function printDeviation(detail: DeviationDetail): Promise<void> {
  const [newest, ...older] = detail.changeSets;
  printFields({
    id: detail.id,
    what: detail.title,
    state: detail.approved ? `${detail.state}, approved` : detail.state,
    tenant: detail.tenant,
    branch: detail.branch ?? "not known yet",
    why: detail.error?.message,
    rule: detail.rule,
    decided: detail.decidedBy && `by ${detail.decidedBy} at ${moment(detail.decidedAt)}`,
    accepted: moment(detail.acceptedAt),
    planned: detail.plannedAt && moment(detail.plannedAt),
    "seen by source": detail.sourceTime,
    request: detail.request,
    plan: detail.operation,
    hash: detail.planHash,
  });
  for (const warning of detail.warnings) say(paint("yellow", `warning: ${text(warning)}`));
  say();
  if (newest) printChanges(newest.changes);
  else say(`says ${text(exactJson(detail.fields))}`);
  if (older.length > 0) {
    say();
    await printTable(
      ["EARLIER PLAN", "MADE", "APPLIED"],
      older.map((set) => [set.title, moment(set.madeAt), moment(set.appliedAt)]),
    );
  }
  if (detail.versions.length > 0) {
    say();
    await printTable(
      ["OTHER VERSION", "STATE", "ACCEPTED"],
      detail.versions.map((version) => [version.id, version.state, moment(version.acceptedAt)]),
    );
  }
}
