import type { BatchRange, Finished, OperationRef, WorkReport } from "../contracts/messages.ts";
import { ReviewAct } from "../contracts/review.ts";
import { finishOperation } from "../db/finish.ts";
import { findOperation } from "../db/operations.ts";
import type { Db } from "../db/pool.ts";
import { reviewPage, type ReviewOperation } from "../db/review-operation.ts";
import { beating } from "./heartbeat.ts";
import { beginOperation } from "./operation.ts";

export interface ReviewDeps {
  db: Db;
  /** Stands in the ledger as who settled what. */
  identity: string;
  /** The worker is about to stop: work ends with its page and is handed back. */
  draining?: AbortSignal;
}

/** One call works about this long, then answers how far it came. */
const SLICE_MS = 60_000;
/** Entities decided in one transaction. */
const PAGE = 2_000;

export const reviewActivities = ({ db, identity, draining }: ReviewDeps) => {
  async function pages(ref: OperationRef, range: BatchRange): Promise<WorkReport> {
    return beating(async (signal, beat) => {
      const operation = await reviewOf(db, ref);
      if (!operation) return { done: 0, complete: false, stop: "gone" };
      const sliceEnds = Date.now() + SLICE_MS;
      let done = 0;
      for (let afterItem = 0; Date.now() < sliceEnds && !draining?.aborted;) {
        signal.throwIfAborted();
        const from = { ...range, afterItem };
        const page = await db.transaction((tx) => reviewPage(tx, operation, from, PAGE, identity));
        done += page.settled;
        beat({ done });
        if (page.stop) return { done, complete: false, stop: page.stop };
        if (page.last === undefined) return { done, complete: true };
        afterItem = page.last;
      }
      return { done, complete: false };
    });
  }

  return {
    /** Decides about the entities of a range. Safe to repeat. */
    reviewPages: pages,

    /** Begins, works and finishes a usual review in one go. Safe to repeat at any point. */
    async reviewWhole(ref: OperationRef): Promise<{ finished: Finished } | { report: WorkReport }> {
      if (!(await beginOperation(db, ref, identity))) {
        return { finished: { state: "gone", counts: {} } };
      }
      const row = await findOperation(db, ref.id);
      const report = await pages(ref, { no: 1, from: 1, to: row?.batches ?? 1 });
      if (!report.complete) return { report };
      const { id, generation } = ref;
      const ending = { outcome: "failed", reason: "left open by its worker" } as const;
      return {
        finished: await db.transaction((tx) =>
          finishOperation(tx, { id, generation, by: identity, ...ending }),
        ),
      };
    },
  };
};

async function reviewOf(db: Db, ref: OperationRef): Promise<ReviewOperation | undefined> {
  const row = await findOperation(db, ref.id);
  if (!row) return undefined;
  const { act, filter, seen, reason } = row.input as unknown as Omit<
    ReviewOperation,
    "id" | "generation" | "tenant" | "by"
  >;
  return {
    id: ref.id,
    generation: ref.generation,
    tenant: row.tenant,
    by: row.submitted_by,
    act: ReviewAct.parse(act),
    reason,
    seen,
    filter,
  };
}
