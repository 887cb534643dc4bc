import {
  ApplicationFailure,
  CancellationScope,
  CancelledFailure,
  condition,
  continueAsNew,
  defineSignal,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from "@temporalio/workflow";
import type { operationActivities } from "../activities/operation.ts";
import {
  WAKE_SIGNAL,
  type BatchRange,
  type Begun,
  type Finished,
  type OperationRef,
  type WorkReport,
} from "../contracts/messages.ts";
import { repeatableLongWrites, repeatableWrites } from "./policies.ts";

/**
 * The operation shape: begin, work, finish. Cancellation and failure end in the same finish, which
 * cannot be cancelled. The row is the truth; this code holds the waiting.
 */

const usual = proxyActivities<ReturnType<typeof operationActivities>>(repeatableWrites);
const { finish } = proxyActivities<ReturnType<typeof operationActivities>>(repeatableLongWrites);

const wake = defineSignal(WAKE_SIGNAL);

/** What a kind of operation does between begin and finish. */
export interface Work {
  /** What makes the row running, where that is more than saying so. */
  begin?: (ref: OperationRef) => Promise<Begun>;
  /** Up to this many items the whole operation is one activity. */
  smallest?: { items: number; run: (ref: OperationRef) => Promise<WholeReport> };
  /** One range; called again for what it left open. */
  range: (ref: OperationRef, range: BatchRange) => Promise<WorkReport>;
}

/** A small operation's one activity: it may have begun, worked and finished in one go. */
type WholeReport = { finished: Finished } | { report: WorkReport };

export function operation(work: Work) {
  return async (ref: OperationRef): Promise<Finished> => {
    let woken = false;
    // One that comes during an activity is kept for the rest after it, which is then no rest.
    setHandler(wake, () => void (woken = true), { description: "look at the row again" });
    const run = new Run(ref, work, async (dueAt) => {
      await condition(() => woken, Math.max(1, Math.min(dueAt - Date.now(), LONGEST_WAIT)));
      woken = false;
    });
    const ending = await run.toItsEnd();
    if ("finished" in ending) return close(ending.finished);
    return close(await CancellationScope.nonCancellable(() => finish(ref, ending)));
  };
}

// A paused operation waits for its wake; the timer is only for a wake that never came.
const LONGEST_WAIT = 600_000;

type Ending = { outcome: "failed" | "cancelled"; reason: string } | { finished: Finished };

const asked = { outcome: "cancelled", reason: "cancelled on request" } as const;
const gone = { finished: { state: "gone", counts: {} } } as const satisfies Ending;

class Run {
  readonly #ref: OperationRef;
  readonly #work: Work;
  readonly #untilDue: (dueAt: number) => Promise<void>;

  constructor(ref: OperationRef, work: Work, untilDue: (dueAt: number) => Promise<void>) {
    this.#ref = ref;
    this.#work = work;
    this.#untilDue = untilDue;
  }

  async toItsEnd(): Promise<Ending> {
    try {
      const { smallest } = this.#work;
      return smallest && this.#ref.total <= smallest.items
        ? await this.#asOne(smallest.run)
        : await this.#inRanges();
    } catch (error) {
      if (isCancellation(error)) return asked;
      if (error instanceof Error && error.name === "ContinueAsNew") throw error;
      return { outcome: "failed", reason: rootMessage(error) };
    }
  }

  async #asOne(whole: (ref: OperationRef) => Promise<WholeReport>): Promise<Ending> {
    for (;;) {
      const answer = await whole(this.#ref);
      if ("finished" in answer) return answer;
      const ending = stopOf(answer.report);
      if (ending) return ending;
      await this.#rest([answer.report]);
    }
  }

  async #inRanges(): Promise<Ending> {
    const { begin = usual.begin } = this.#work;
    const begun: Begun = await begin(this.#ref);
    if (begun.state === "gone") return gone;
    let open = begun.ranges;
    for (;;) {
      const reports = await inWindow(open, begun.window, (range) =>
        this.#work.range(this.#ref, range),
      );
      const stopped = reports.map(stopOf).find(Boolean);
      if (stopped) return stopped;
      open = open.filter((_, index) => !reports[index]!.complete);
      // Nothing is left; what finish still finds open would be a fault of ours.
      if (open.length === 0) return { outcome: "failed", reason: "left open by its workflow" };
      await this.#rest(reports.filter((report) => !report.complete));
    }
  }

  async #rest(reports: readonly WorkReport[]): Promise<void> {
    const dueAt = Math.min(...reports.map((report) => dueTime(report)));
    const what = reports.map((report) => report.waitsFor).find(Boolean);
    const until = `until ${new Date(dueAt).toISOString()}, or until it is woken`;
    setCurrentDetails(`waiting${what ? ` for ${what}` : ""} ${until}`);
    await this.#untilDue(dueAt);
    if (workflowInfo().continueAsNewSuggested) await continueAsNew(this.#ref);
    setCurrentDetails("working");
  }
}

function stopOf(report: WorkReport): Ending | undefined {
  if (report.stop === "cancelled") return asked;
  if (report.stop === "gone") return gone;
  return undefined;
}

function dueTime(report: WorkReport): number {
  if (report.stop === "paused") return Date.now() + LONGEST_WAIT;
  return report.nextDueAt ?? Date.now();
}

/** Runs `work` over all of `things`, at most `window` at a time, and answers in their order. */
async function inWindow<T, R>(
  things: readonly T[],
  window: number,
  work: (thing: T) => Promise<R>,
): Promise<R[]> {
  const answers: R[] = [];
  let next = 0;
  const lane = async () => {
    while (next < things.length) {
      const index = next++;
      answers[index] = await work(things[index]!);
    }
  };
  await Promise.all(Array.from({ length: Math.min(window, things.length) }, lane));
  return answers;
}

// The workflow closes as the row does, so that Temporal's own lists tell the truth.
function close(finished: Finished): Finished {
  const { state, reason = state, counts } = finished;
  if (state === "failed") throw ApplicationFailure.nonRetryable(reason, "OperationFailed", counts);
  if (state === "cancelled") throw new CancelledFailure(reason, [counts]);
  return finished;
}

function rootMessage(error: unknown): string {
  let cause = error;
  while (cause instanceof Error && cause.cause instanceof Error) cause = cause.cause;
  return cause instanceof Error ? cause.message : String(cause);
}
