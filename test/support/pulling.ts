import { fileURLToPath } from "node:url";
import type { ClaimedBatch, JobView, PostedResult } from "../../contracts/job.ts";
import type { WorkerProcess } from "../../dev/spawn-worker.ts";
import type { System } from "./system.ts";

const CONFIG = fileURLToPath(new URL("../system/fixtures/jobs.config.ts", import.meta.url));

/** Jobs of a system, with this process as the one who pulls. */
export interface Pulling {
  /** A worker process with the plug-ins of fixtures/job-plug-ins.ts. */
  worker(): Promise<WorkerProcess>;
  /** Waits until items of the job can be claimed. */
  opened(id: string): Promise<void>;
  /** Every batch of a pipeline that can be claimed now; two by each of many workers. */
  claimed(pipeline: string, name?: string): Promise<ClaimedBatch[]>;
  /** Posts good results for all of a batch, and answers how many counted. */
  post(batch: ClaimedBatch): Promise<number>;
  /** The terminal view, over a database that may be away. */
  ended(id: string, withinMs?: number): Promise<JobView>;
}

export function pullingFrom(system: System): Pulling {
  const { job } = system.holdfast;
  return {
    worker: () => system.worker({ config: CONFIG }),
    opened: (id) =>
      system.eventually("it is handed out", async () => (await job.get(id)).batches.ready > 0),
    async claimed(pipeline, name = "puller") {
      const batches: ClaimedBatch[] = [];
      for (let n = 0; ; n++) {
        const claim = { pipelines: [pipeline], worker: `${name}-${n}`, limit: 2 };
        const got = (await job.claim(claim)).batches;
        if (got.length === 0) return batches;
        batches.push(...got);
      }
    },
    async post(batch) {
      return (await job.post(batch.job, { results: results(batch) })).accepted;
    },
    async ended(id, withinMs) {
      await system.ended(id, withinMs);
      return job.get(id);
    },
  };
}

/** Items with orders for the processor `obey`. */
export function told(n: number, orders: (no: number) => object = () => ({})) {
  return Array.from({ length: n }, (_, index) => ({
    key: `n-${index + 1}`,
    payload: { ...orders(index + 1) },
  }));
}

/** A good result for each item of a batch. */
export function results(batch: ClaimedBatch): PostedResult[] {
  return batch.items.map(({ item, key }) => ({
    handle: batch.handle,
    item,
    result: key,
    counts: { worked: 1 },
  }));
}
