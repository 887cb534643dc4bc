import { inventoryBroken, type InventoryFigures } from "./demo-inventory-verdict.ts";
import { jobBroken, type JobFigures } from "./demo-job-verdict.ts";

/** What the demo has counted, by other means than the ones that kept the promises. */
export interface Figures {
  items: number;
  /** How the operation ended, and why as far as it says. */
  state: string;
  reason: string | null;
  /** Items by outcome, from the ledger. */
  outcomes: Record<string, number>;
  /** The same, as the operation says it. */
  counts: Record<string, number>;
  /** Items with no outcome, or more than one. */
  notOnce: number;
  /** Items that failed without a reason. */
  unexplained: number;
  /** Derived rows without a source, and pages still marked as in flight. */
  orphans: number;
  /** Absent: no worker was killed. */
  kill?: {
    /** Items settled before it, so fewer than all. */
    settled: number;
    signal: NodeJS.Signals | null;
    /** Items settled by workers that came after. */
    settledByOthers: number;
  };
  /** Findings. */
  doctor: number;
  replayed: boolean;
  /** Objects of which the search index says something else than their tables. */
  differences: number;
  job: JobFigures;
  inventory: InventoryFigures;
  seconds: number;
}

/** The one line a script reads. `orphans` also counts items without exactly one outcome. */
export function lineOf({ items, outcomes, notOnce, orphans, doctor, replayed, seconds }: Figures) {
  const { succeeded = 0, failed = 0, ...rest } = outcomes;
  const other = Object.values(rest).reduce((sum, n) => sum + n, 0);
  return { items, succeeded, failed, other, orphans: orphans + notOnce, doctor, replayed, seconds };
}

/** What was not as promised, a line each; none: everything was. */
export function brokenPromises(figures: Figures): string[] {
  const { items, notOnce, orphans, doctor, replayed, differences } = figures;
  const settled = Object.values(figures.outcomes).reduce((sum, n) => sum + n, 0);
  return [
    ...(notOnce > 0 ? [`${notOnce} items have not exactly one outcome`] : []),
    ...(settled !== items ? [`${settled} outcomes for ${items} items`] : []),
    ...endBroken(figures),
    ...killBroken(figures),
    ...(orphans > 0 ? [`${orphans} rows belong to nothing`] : []),
    ...(doctor > 0 ? [`the doctor has ${doctor} findings`] : []),
    ...(differences > 0 ? [`the search index differs from ${differences} objects`] : []),
    ...jobBroken(figures.job),
    ...inventoryBroken(figures.inventory),
    ...(replayed ? [] : ["replayed, the workflow decides otherwise"]),
  ];
}

// Completed without a failed item, or failed with failed items that all say why.
function endBroken({ state, reason, outcomes, counts, unexplained }: Figures): string[] {
  const ledger = JSON.stringify(sorted(outcomes));
  const said = JSON.stringify(sorted(counts));
  if (ledger !== said) return [`the operation says ${said}, its ledger ${ledger}`];
  const { failed = 0, cancelled = 0, lost = 0 } = outcomes;
  if (cancelled + lost > 0) return [`${cancelled + lost} items were cancelled or lost`];
  if (failed === 0) return state === "completed" ? [] : [`it ended ${state}, and no item failed`];
  if (state !== "failed" || !reason) return [`it ended ${state}, and ${failed} items failed`];
  return unexplained > 0 ? [`${unexplained} items failed without a reason`] : [];
}

function killBroken({ items, kill }: Figures): string[] {
  if (!kill) return ["no worker was killed in the middle: try more documents"];
  const { settled, signal, settledByOthers } = kill;
  if (signal !== "SIGKILL") return [`the worker ended by ${signal ?? "itself"}, not by SIGKILL`];
  if (settled >= items) return ["the worker was killed when all was done"];
  return settledByOthers > 0 ? [] : ["no other worker settled anything after the kill"];
}

function sorted(counts: Record<string, number>): [string, number][] {
  return Object.entries(counts)
    .filter(([, n]) => n > 0)
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
}
