import { Option, type Command } from "commander";
import type { JobClient } from "../client/index.ts";
import type { JobView, RunAgain } from "../contracts/job.ts";
import { withHoldfast } from "./connection.ts";
import { examples, given, JSON_FLAG } from "./declare.ts";
import { doneOf, printJob, speedOf } from "./job-print.ts";
import {
  exitWith,
  following,
  showFor,
  tenths,
  trouble,
  type FollowHow,
} from "./operation-watch.ts";
import { printJson, say } from "./output.ts";

const RUN_AGAIN = [
  "unfinished",
  "failed",
  "remaining",
  "all",
] as const satisfies RunAgain["items"][];

/**
 * Follows a job to its end and answers the last view, as operations are followed. A Ctrl-C ends the
 * following, not the job.
 */
export async function followJob(job: JobClient, id: string, how: FollowHow = {}): Promise<JobView> {
  const show = await showFor<JobView>(how, {
    bars: (view) => [
      {
        name: view.pipeline,
        done: doneOf(view),
        total: view.total,
        state: `${stateOf(view)}${trouble(view.counts)} | ${speedOf(view)}`,
      },
    ],
    line: (view) => ({
      text: `${stateOf(view)}: ${doneOf(view)}/${view.total}${trouble(view.counts)}, ${speedOf(view)}`,
      when: `${view.shown} ${view.holdup?.kind} ${tenths(doneOf(view), view.total)}`,
    }),
  });
  const again = `the job goes on; follow it with "holdfast job watch ${id}"`;
  return following((signal) => job.watch(id, { signal }), show, again);
}

function stateOf(view: JobView): string {
  return view.holdup ? `${view.shown} (${view.holdup.kind})` : view.shown;
}

export function register(job: Command): void {
  const watch = job
    .command("watch <id>")
    .description("follow it to its end; exit code 0 completed, 1 failed, 3 cancelled")
    .option("--json", "print each change as a line of NDJSON");
  examples(watch, "holdfast job watch 01990f3e-...").action(async (id: string, { json }) => {
    const end = await withHoldfast(({ job }) => followJob(job, id, { json }));
    if (!json) await printJob(end);
    exitWith(end);
  });

  const cancel = job
    .command("cancel <id>")
    .description("end it: nothing is handed out any more; what is settled stays")
    .option(...JSON_FLAG);
  examples(cancel, "holdfast job cancel 01990f3e-...").action(async (id: string, { json }) => {
    const view = await withHoldfast(({ job }) => job.cancel(id));
    if (json) printJson(view);
    else say(`job ${id} is cancelled, or will be at once (${view.shown})`);
  });

  const retry = job
    .command("retry <id>")
    .description("run items again, as the job's next generation")
    .addOption(
      new Option(
        "--items <which>",
        "unfinished: failed, lost or cancelled; failed: or lost; remaining: cancelled; all",
      ).choices(RUN_AGAIN),
    )
    .option(...JSON_FLAG);
  examples(
    retry,
    "holdfast job retry 01990f3e-...",
    "holdfast job retry 01990f3e-... --items failed",
  ).action(async (id: string, { items, json }) => {
    const view = await withHoldfast(({ job }) => job.retry(id, given({ items })));
    if (json) printJson(view);
    else say(`job ${id} is accepted again, generation ${view.generation} (${view.shown})`);
  });
}
