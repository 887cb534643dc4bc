import type { RunAgain } from "../../contracts/job.ts";
import { RERUN_OUTCOMES, type OperationView, type Outcome } from "../../contracts/operation.ts";
import type { Action } from "../../contracts/roles.ts";
import type { Holdfast } from "../../client/index.ts";

/** Where an operation is shown, and where its acts lead back to. */
export function homeOf({ kind, id }: Pick<OperationView, "kind" | "id">): string {
  if (kind === "job") return `/jobs/${id}`;
  return kind === "plan" ? `/plans/${id}` : `/operations/${id}`;
}

/** What people may do to an operation, each on a page of its own at `/operations/:id/<name>`. */
export interface Act {
  /** Last step of the address. */
  name: "cancel" | "retry" | "pause" | "resume";
  action: Action;
  words: string;
  /** Asks to type the id's tail. */
  typed: boolean;
  possible(view: OperationView): boolean;
  /** What the operation page says afterwards. */
  done: string;
  perform(holdfast: Holdfast, view: OperationView, form: Record<string, string>): Promise<unknown>;
}

const isOpen = (view: OperationView) => view.finishedAt === null;

export const ACTS: readonly Act[] = [
  {
    name: "pause",
    action: "pause",
    words: "Pause",
    typed: false,
    possible: (view) => isOpen(view) && !view.pausedAt && !view.cancelRequestedAt,
    done: "Paused. What is in flight ends; nothing new begins.",
    perform: (holdfast, { id }, { reason = "" }) =>
      reason.trim() ? holdfast.operation.pause(id, reason) : holdfast.operation.pause(id),
  },
  {
    name: "resume",
    action: "pause",
    words: "Resume",
    typed: false,
    possible: (view) => isOpen(view) && view.pausedAt !== null,
    done: "Resumed. It goes on where it stopped.",
    perform: (holdfast, { id }) => holdfast.operation.resume(id),
  },
  {
    name: "cancel",
    action: "cancel",
    words: "Cancel",
    typed: true,
    possible: (view) => isOpen(view) && !view.cancelRequestedAt,
    done: "Cancelling. What is settled stays; the rest ends as cancelled.",
    perform: (holdfast, { id }) => holdfast.operation.cancel(id),
  },
  {
    name: "retry",
    action: "retry",
    words: "Run again",
    typed: false,
    possible: (view) => !isOpen(view) && (view.kind === "job" ? view.total : unfinished(view)) > 0,
    done: "Accepted again, as the next generation.",
    perform: (holdfast, { kind, id }, { items }) =>
      kind === "job"
        ? holdfast.job.retry(id, (items ? { items } : {}) as RunAgain)
        : holdfast.operation.retry(id),
  },
];

/** Items that ended in one of these ways; unless said otherwise, those of the next generation. */
export function unfinished(
  view: OperationView,
  outcomes: readonly Outcome[] = RERUN_OUTCOMES,
): number {
  const counts = view.stages[0]?.counts ?? {};
  return outcomes.reduce((sum, outcome) => sum + (counts[outcome] ?? 0), 0);
}
