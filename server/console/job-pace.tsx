import type { JobView } from "../../contracts/job.ts";
import { number, span } from "./format.ts";

/** How fast a job goes and what keeps it, as lists and its own page say it. */

/** Items a minute, and when it is done at that speed. */
export function Pace({ job }: { job: JobView }) {
  if (job.startedAt === null || (job.finishedAt !== null && job.throughput === "unknown"))
    return null;
  const speed = job.throughput === "unknown" ? undefined : `${number(job.throughput)}/min`;
  const left =
    job.finishedAt !== null
      ? undefined
      : job.eta === "unknown"
        ? "time left unknown"
        : `about ${span(job.eta * 1_000)} left`;
  return <span class="faint">{[speed, left].filter(Boolean).join(", ")}</span>;
}

/** What keeps it from going on; nothing when nothing does. */
export function Holdup({ job }: { job: JobView }) {
  if (!job.holdup) return null;
  return <span class={job.holdup.kind === "collecting" ? "faint" : "warn"}>{job.holdup.text}</span>;
}

/** The address of a job's ledger: its items by outcome, on the page of its operation. */
export function itemsAddress(id: string, outcome?: string): string {
  return `/operations/${id}${outcome ? `?outcome=${outcome}` : ""}#items`;
}
