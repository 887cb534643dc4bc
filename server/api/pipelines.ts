import { z } from "zod";
import { Pipeline, PipelineView, PullWorkerView } from "../../contracts/job.ts";
import { given } from "./parameters.ts";
import { listOf, route, type Api } from "./route.ts";

const Depth = z
  .object({
    /** Batches that may be claimed; of one job at most 10,000 are counted. */
    ready: z.number().int(),
    jobs: z.number().int(),
    /** How long the oldest of them has waited; 0 without any. */
    oldestSeconds: z.number(),
    workersOnline: z.number().int(),
  })
  .meta({ id: "PipelineDepth" });

/** What waits for pull workers, and who they are: for people and for autoscalers. */
export function pipelineRoutes(api: Api): void {
  const read = { action: "read", method: "get", tag: "jobs" } as const;
  route(
    api,
    {
      ...read,
      path: "/v1/jobs/workers",
      id: "listPullWorkers",
      summary: "Pull workers that were seen, last seen first",
      query: z.strictObject({ pipeline: Pipeline.optional() }),
      answer: listOf(PullWorkerView.meta({ id: "PullWorker" })).meta({ id: "PullWorkerList" }),
    },
    async ({ holdfast, query }) => ({ items: await holdfast.job.workers(given(query)) }),
  );
  route(
    api,
    {
      ...read,
      path: "/v1/pipelines",
      id: "listPipelines",
      summary: "What may be claimed now, by pipeline and tenant",
      answer: listOf(PipelineView.meta({ id: "Pipeline" })).meta({ id: "PipelineList" }),
    },
    async ({ holdfast }) => ({ items: await holdfast.job.pipelines() }),
  );
  route(
    api,
    {
      ...read,
      path: "/v1/pipelines/{pipeline}/depth",
      id: "getPipelineDepth",
      summary: "How much of one pipeline waits for workers, as numbers for an autoscaler",
      description:
        "A pipeline of which nothing waits, or that nobody has named yet, answers zeros.",
      params: z.strictObject({ pipeline: Pipeline }),
      answer: Depth,
    },
    async ({ holdfast, params: { pipeline } }) => {
      const [pipelines, workers] = await Promise.all([
        holdfast.job.pipelines(),
        holdfast.job.workers({ pipeline }),
      ]);
      const waits = pipelines.filter((each) => each.pipeline === pipeline);
      return {
        ready: waits.reduce((sum, { ready }) => sum + ready, 0),
        jobs: waits.reduce((sum, { jobs }) => sum + jobs, 0),
        oldestSeconds: Math.max(0, ...waits.map((each) => each.oldestSeconds)),
        workersOnline: workers.filter(({ online }) => online).length,
      };
    },
  );
}
