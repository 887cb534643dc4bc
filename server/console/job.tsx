import { findJob } from "../../db/jobs.ts";
import { settledInLastHour, workersOfJob } from "../../db/job-status.ts";
import type { ConsoleDeps } from "../deps.ts";
import type { Body } from "./body.ts";
import { shortId } from "./format.ts";
import type { Visit } from "./frame.tsx";
import { JobErrors } from "./job-errors.tsx";
import { JobHeader } from "./job-header.tsx";
import { JobStages } from "./job-progress.tsx";
import { JobWork, SHOWN_WORKERS } from "./job-work.tsx";
import { Logs, readLogs } from "./operation-logs.tsx";
import { operationQuery } from "./operation-query.ts";
import { part, valueOr, type Reading } from "./reading.ts";

/** Everything about one job but its single items, which are its operation's. @throws NotFound, InvalidInput */
export async function jobBody(
  { caller, read, url }: Visit,
  settings: ConsoleDeps["settings"],
  id: string,
): Promise<Body> {
  const { holdfast, db } = read;
  const query = operationQuery(url);
  const [job, view, logs] = await Promise.all([
    holdfast.job.get(id),
    holdfast.operation.get(id),
    readLogs(read, id, query),
  ]);
  const open = job.finishedAt === null;
  const [row, pace, workers] = await Promise.all([
    part(() => findJob(db, id)),
    open ? part(() => settledInLastHour(db, id)) : { value: [] },
    open ? part(() => workersOfJob(db, id, SHOWN_WORKERS + 1)) : { value: [] },
  ]);
  return {
    title: `${job.pipeline} ${shortId(job.id)}`,
    at: "jobs",
    ended: !open,
    sections: {
      head: (
        <JobHeader
          job={job}
          view={view}
          row={valueOr(row, undefined)}
          caller={caller}
          settings={settings}
          did={url.searchParams.get("did")}
        />
      ),
      progress: <JobStages job={job} pace={pace} />,
      work: <JobWork job={job} workers={workers} />,
      errors: <JobErrors job={job} />,
      logs: <Logs part={logs} query={query} url={url} />,
    },
  };
}

/** Changes when there is something new to show; costs a fraction of the page. */
export async function jobPulse({ holdfast }: Reading, id: string): Promise<string> {
  return JSON.stringify(await holdfast.job.get(id));
}
