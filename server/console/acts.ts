import { RERUN_OUTCOMES, type OperationView } from "../../contracts/operation.ts";
import type { Action } from "../../contracts/roles.ts";
import type { Holdfast } from "../../client/index.ts";

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
  perform(holdfast: Holdfast, id: string, reason: string): Promise<OperationView>;
}

const isOpen = (view: OperationView) => view.finishedAt === null;

export const ACTS: readonly Act[] = [
  {
    name: "pause",
    action: "pause",
    words: "Pause",
    typed: false,
    possible: (view) => isOpen(view) && !view.pausedAt && !view.cancelRequestedAt,
    done: "Paused. Pages in flight end; nothing new begins.",
    perform: (holdfast, id, reason) =>
      reason ? holdfast.operation.pause(id, reason) : holdfast.operation.pause(id),
  },
  {
    name: "resume",
    action: "pause",
    words: "Resume",
    typed: false,
    possible: (view) => isOpen(view) && view.pausedAt !== null,
    done: "Resumed. It goes on where it stopped.",
    perform: (holdfast, id) => holdfast.operation.resume(id),
  },
  {
    name: "cancel",
    action: "cancel",
    words: "Cancel",
    typed: true,
    possible: (view) => isOpen(view) && !view.cancelRequestedAt,
    done: "Cancelling. What is settled stays; the rest ends as cancelled.",
    perform: (holdfast, id) => holdfast.operation.cancel(id),
  },
  {
    name: "retry",
    action: "retry",
    words: "Run again",
    typed: false,
    possible: (view) => !isOpen(view) && unfinished(view) > 0,
    done: "Accepted again, over the items that were not finished.",
    perform: (holdfast, id) => holdfast.operation.retry(id),
  },
];

/** Items that the next generation would take up. */
export function unfinished(view: OperationView): number {
  const counts = view.stages[0]?.counts ?? {};
  return RERUN_OUTCOMES.reduce((sum, outcome) => sum + (counts[outcome] ?? 0), 0);
}
