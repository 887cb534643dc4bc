import { Conflict } from "../contracts/errors.ts";
import type { RUN_AGAIN } from "../contracts/job.ts";
import { OUTCOMES, type Outcome } from "../contracts/operation.ts";
import { countOpen } from "../db/items.ts";
import { findJob, setRunAgain } from "../db/jobs.ts";
import { markAcceptedAgain, type OperationRow } from "../db/operations.ts";
import { countOutcomes } from "../db/outcomes.ts";
import type { Tx } from "../db/pool.ts";
import { uncountRerun } from "../db/progress.ts";
import { isTerminal } from "./operation-change.ts";

type Mode = (typeof RUN_AGAIN)[number];

/** Outcomes that each mode takes up. */
const TAKEN_UP = {
  unfinished: ["failed", "lost", "cancelled"],
  failed: ["failed", "lost"],
  remaining: ["cancelled"],
  all: OUTCOMES,
} as const satisfies Record<Mode, readonly Outcome[]>;

/** The next generation of an operation that has ended. Other modes than `unfinished` are for jobs. */
export function runAgain(mode: Mode) {
  return async (tx: Tx, row: OperationRow): Promise<"done"> => {
    if (!isTerminal(row)) {
      throw new Conflict(
        "still-open",
        `operation ${row.id} is ${row.state}; cancel it or wait for its end first`,
      );
    }
    // What was not collected yet is unfinished, whatever came of the rest.
    const job = row.kind === "job" ? await findJob(tx, row.id) : undefined;
    const collects = job !== undefined && job.collector !== null && job.collected_at === null;
    if (mode !== "unfinished" && !(collects && mode === "all")) await assertFits(tx, row, mode);
    else if (!collects) await assertUnfinished(tx, row);
    if (row.kind === "job") await setRunAgain(tx, row.id, mode, row.generation + 1);
    await uncountRerun(tx, row.id, row.generation + 1, row.kind);
    await markAcceptedAgain(tx, row.id);
    return "done";
  };
}

async function assertUnfinished(tx: Tx, row: OperationRow): Promise<void> {
  if ((await countOpen(tx, row.id, row.generation + 1)) > 0) return;
  const next = row.kind === "job" && row.total > 0 ? 'run "all" again, or submit' : "submit";
  throw new Conflict(
    "nothing-to-retry",
    `operation ${row.id} has no unfinished item; ${next} a new ${row.kind === "job" ? "job" : "batch"}`,
  );
}

async function assertFits(tx: Tx, row: OperationRow, mode: Exclude<Mode, "unfinished">) {
  const counts = await countOutcomes(tx, row.id);
  const fits = (of: Mode) => TAKEN_UP[of].reduce((sum, outcome) => sum + (counts[outcome] ?? 0), 0);
  if (fits(mode) > 0) return;
  const others = (Object.keys(TAKEN_UP) as Mode[]).filter((other) => fits(other) > 0);
  const instead = others.map((other) => `"${other}" (${fits(other)})`).join(" or ");
  const asked = {
    failed: "that failed or was lost",
    remaining: "that was cancelled before it was worked",
    all: "at all",
  }[mode];
  throw new Conflict(
    "nothing-to-retry",
    `job ${row.id} has no item ${asked}; ${instead ? `there are items for ${instead}` : "submit a new job"}`,
  );
}
