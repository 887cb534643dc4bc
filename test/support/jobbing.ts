import { MockActivityEnvironment } from "@temporalio/testing";
import { DefaultLogger } from "@temporalio/worker";
import { jobActivities } from "../../activities/job.ts";
import { jobControlActivities } from "../../activities/job-look.ts";
import { operationActivities } from "../../activities/operation.ts";
import type { HoldfastConfig } from "../../contracts/config.ts";
import type { JobSubmit } from "../../contracts/job.ts";
import type {
  Begun,
  Finished,
  JobLook,
  OperationRef,
  WorkReport,
} from "../../contracts/messages.ts";
import { findOperation } from "../../db/operations.ts";
import type { Db } from "../../db/pool.ts";
import { fresh, type Fresh } from "./fresh.ts";

/** The activities of one worker process, each call in an activity context of its own. */
export interface JobWorker {
  begin(ref: OperationRef): Promise<Begun>;
  look(ref: OperationRef): Promise<JobLook>;
  work(ref: OperationRef, lane?: number, cancelled?: AbortSignal): Promise<WorkReport>;
  finish(ref: OperationRef, outcome?: "failed" | "cancelled", reason?: string): Promise<Finished>;
}

export function jobWorker(
  db: Db,
  config: HoldfastConfig = {},
  { identity = "worker", draining }: { identity?: string; draining?: AbortSignal } = {},
): JobWorker {
  const deps = { db, config, identity, ...(draining && { draining }) };
  const { beginJob, lookAtJob } = jobControlActivities(deps);
  const { workJob } = jobActivities(deps);
  const { finish } = operationActivities(deps);
  return {
    begin: (ref) => inActivity(() => beginJob(ref)),
    look: (ref) => inActivity(() => lookAtJob(ref)),
    work: (ref, lane = 1, cancelled) => inActivity(() => workJob(ref, lane), cancelled),
    finish: (ref, outcome = "failed", reason = "left open by its workflow") =>
      inActivity(() => finish(ref, { outcome, reason })),
  };
}

function inActivity<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  const logger = new DefaultLogger("ERROR");
  const environment = new MockActivityEnvironment({}, { logger });
  if (signal?.aborted) environment.cancel("CANCELLED");
  signal?.addEventListener("abort", () => environment.cancel("CANCELLED"), { once: true });
  return environment.run<[], T, () => Promise<T>>(work);
}

export interface Jobbing extends Fresh {
  working: JobWorker;
  submit(job: JobSubmit): Promise<OperationRef>;
  /** What the workflow of a job is given now. */
  refOf(id: string): Promise<OperationRef>;
  /** Works a job to its end, as its workflow would; waits are over at once. */
  finished(ref: OperationRef, by?: JobWorker): Promise<Finished>;
}

export async function jobbing(config: HoldfastConfig = {}): Promise<Jobbing> {
  const made = await fresh(config);
  const working = jobWorker(made.db, config);
  const jobs: Jobbing = {
    ...made,
    working,
    async submit(job) {
      const { id } = await made.holdfast.job.submit(job);
      return jobs.refOf(id);
    },
    refOf: (id) => readRef(made.db, id),
    async finished(ref, by = working) {
      const begun = await by.begin(ref);
      if (begun.state === "gone") return { state: "gone", counts: {} };
      for (let rounds = 0; rounds < 100; rounds++) {
        const { lanes, ...look } = await by.look(ref);
        if (look.complete) return by.finish(ref);
        if (look.stop) return by.finish(ref, "cancelled", "cancelled on request");
        const work = Array.from({ length: lanes }, (_, index) => by.work(ref, index + 1));
        try {
          await Promise.all(work);
        } catch (error) {
          return by.finish(ref, "failed", (error as Error).message);
        }
      }
      throw new Error(`job ${ref.id} does not come to its end`);
    },
  };
  return jobs;
}

async function readRef(db: Db, id: string): Promise<OperationRef> {
  const row = await findOperation(db, id);
  const { kind, tenant, scope, generation, total, priority } = row!;
  return { kind, id, tenant, scope, generation, total, priority };
}

/** `n` items, `item-1` on, each with its number for a payload and what `more` says of it. */
export function numbered(n: number, more: (no: number) => object = () => ({})) {
  return Array.from({ length: n }, (_, index) => ({
    key: `item-${index + 1}`,
    payload: { n: index + 1, ...more(index + 1) },
  }));
}
