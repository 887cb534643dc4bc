import { Option, type Command } from "commander";
import { withHoldfast } from "./connection.ts";
import { examples, JSON_FLAG, TENANT_FLAG, wholeNumber } from "./declare.ts";
import { JOBS, PIPELINES, printJob, WORKERS } from "./job-print.ts";
import { printJson, printPage } from "./output.ts";

const STATES = ["accepted", "running", "completed", "failed", "cancelled", "open"] as const;

/** What there is, and who works it. */
export function register(job: Command): void {
  const list = job
    .command("list")
    .description("jobs, newest first")
    .option("--pipeline <pipeline>", "of one pipeline")
    .addOption(new Option("--state <state>", "in one state").choices(STATES))
    .option(TENANT_FLAG[0], "of one tenant")
    .option("--limit <n>", "jobs on one page, at most 200", wholeNumber)
    .option("--after <cursor>", "the next page: what the page before said")
    .option(...JSON_FLAG);
  examples(
    list,
    "holdfast job list --state open",
    "holdfast job list --pipeline thumbnails --json",
  ).action(async ({ json, ...filter }) => {
    const page = await withHoldfast(({ job }) => job.list(filter));
    await printPage(page, { json, ...JOBS });
  });

  const show = job
    .command("show <id>")
    .description("one job: how far it is, how fast, who works it, what holds it up")
    .option(...JSON_FLAG);
  examples(show, "holdfast job show 01990f3e-...").action(async (id: string, { json }) => {
    const view = await withHoldfast(({ job }) => job.get(id));
    if (json) printJson(view);
    else await printJob(view);
  });

  const workers = job
    .command("workers")
    .description("pull workers: when they asked last, and what they hold")
    .option("--pipeline <pipeline>", "of one pipeline")
    .option(...JSON_FLAG);
  examples(workers, "holdfast job workers --pipeline thumbnails").action(
    async ({ json, ...filter }) => {
      const items = await withHoldfast(({ job }) => job.workers(filter));
      await printPage({ items }, { json, ...WORKERS });
    },
  );

  const pipelines = job
    .command("pipelines")
    .description("what may be claimed now, by pipeline: for people and autoscalers")
    .option(...JSON_FLAG);
  examples(pipelines, "holdfast job pipelines --json").action(async ({ json }) => {
    const items = await withHoldfast(({ job }) => job.pipelines());
    await printPage({ items }, { json, ...PIPELINES });
  });
}
