import type { HoldfastConfig } from "../contracts/config.ts";
import { DEFAULT_LIMITS } from "../contracts/config.ts";
import { JobInput } from "../contracts/job.ts";
import type { OperationRef, WorkReport } from "../contracts/messages.ts";
import { findCollecting } from "../db/job-collect.ts";
import { findJob } from "../db/jobs.ts";
import { findOperation } from "../db/operations.ts";
import type { Db } from "../db/pool.ts";
import { beating } from "./heartbeat.ts";
import { JobCollection } from "./job-collect.ts";
import { JobLane } from "./job-process.ts";
import { Solitude } from "./solitude.ts";

export interface JobDeps {
  db: Db;
  config: HoldfastConfig;
  /** Stands in leases as who holds them. */
  identity: string;
  log?: { warn(fields: object, message: string): void };
  /** The worker is about to stop: work ends with its page or batch and is handed back. */
  draining?: AbortSignal;
}

/** A batch that is suspected of a crash waits so long to be alone; other batches may take an hour. */
const ALONE_WITHIN_MS = 30_000;
/** What this worker cannot do is looked at again after this long, by whichever worker that is. */
const NOT_HERE_MS = 30_000;

/** What our own workers do for jobs: collecting their items, and processing them. */
export const jobActivities = ({ db, config, identity, log, draining }: JobDeps) => {
  const { collectors = {}, processors = {}, onResults, persistLogs = true } = config.jobs ?? {};
  const maxOpenItems = config.limits?.openItems ?? DEFAULT_LIMITS.openItems;
  const solitude = new Solitude(ALONE_WITHIN_MS);

  return {
    /**
     * Works one lane (1-based) of a job for a while: the pages of its collector, then batches for its
     * processor. Safe to repeat: a page is written once, and an item is settled once.
     */
    workJob(ref: OperationRef, lane: number): Promise<WorkReport> {
      return beating(async (signal, beat) => {
        const gone: WorkReport = { done: 0, complete: false, stop: "gone" };
        const [row, job] = await Promise.all([findOperation(db, ref.id), findJob(db, ref.id)]);
        if (!row || !job) return gone;
        const collecting = await findCollecting(db, ref.id);
        if (collecting && !collecting.done) {
          if (lane > 1) return { done: 0, complete: false };
          const { collect: input } = JobInput.parse(row.input);
          const collector = ownEntry(collectors, collecting.collector);
          const context = { db, ref, collector, input, maxOpenItems, persistLogs };
          const collection = new JobCollection({ ...context, signal, draining, log }, beat);
          return collection.run(collecting);
        }
        const processor = ownEntry(processors, job.pipeline);
        if (!processor) {
          // Whoever looked at the job has one: it is this worker's configuration that is behind.
          const waitsFor = `a worker with processor "${job.pipeline}", which this one has not`;
          return { done: 0, complete: false, nextDueAt: Date.now() + NOT_HERE_MS, waitsFor };
        }
        const plugged = { processor, onResults, persistLogs, solitude };
        const context = { db, ref, job, identity, lane, ...plugged };
        return new JobLane({ ...context, signal, draining, log }, beat).run();
      });
    },
  };
};

/** A name comes from a caller: `constructor` is nobody's plug-in. */
export function ownEntry<T>(entries: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(entries, name) ? entries[name] : undefined;
}
