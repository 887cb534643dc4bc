import type { JobView } from "../../contracts/job.ts";
import { InvalidInput } from "../../contracts/errors.ts";
import { STATES } from "../../contracts/operation.ts";
import type { Body } from "./body.ts";
import { Choice } from "./choice.tsx";
import { counted, number } from "./format.ts";
import { Holdup, Pace } from "./job-pace.tsx";
import { Pipelines } from "./job-pipelines.tsx";
import { OutcomeCounts } from "./outcome-counts.tsx";
import { Ago, Empty, Id, NextPage, Progress, Shown, Table, withParams } from "./pieces.tsx";
import { PullWorkers } from "./pull-workers.tsx";
import { part, type Reading } from "./reading.ts";
import { StateBadge } from "./state-badge.tsx";

const PAGE_SIZE = 50;
const FILTERS = ["pipeline", "state", "tenant"] as const;

/** What waits for pull workers, the jobs by filter, newest first, and who works; the filter is the address. */
export async function jobsBody({ holdfast }: Reading, url: URL): Promise<Body> {
  // A form sends every field, also those left empty.
  const given = Object.fromEntries([...url.searchParams].filter(([, value]) => value !== ""));
  let wrong: InvalidInput | undefined;
  const jobs = await part(() =>
    holdfast.job.list({ ...given, limit: PAGE_SIZE }).catch((error: unknown) => {
      if (error instanceof InvalidInput) wrong = error;
      throw error;
    }),
  );
  const [pipelines, workers] = await Promise.all([
    part(() => holdfast.job.pipelines()),
    part(() => holdfast.job.workers()),
  ]);
  const filtered = FILTERS.some((name) => name in given);
  return {
    title: "Jobs",
    at: "jobs",
    status: wrong ? 400 : 200,
    sections: {
      head: <h1>Jobs</h1>,
      pipelines: <Pipelines pipelines={pipelines} workers={workers} />,
      filter: (
        <>
          <h2>All jobs</h2>
          <Filter given={given} filtered={filtered} />
          {wrong && (
            <p class="alarm" role="alert">
              This filter cannot be used: {wrong.message}. <a href="/jobs">Show all</a>
            </p>
          )}
        </>
      ),
      rows: wrong ? null : (
        <Shown part={jobs}>
          {({ items, next }) => (
            <>
              {items.length === 0 ? (
                <None filtered={filtered} paged={"after" in given} />
              ) : (
                <Rows items={items} />
              )}
              {next && <NextPage href={withParams(url, { after: next })} words="Older jobs" />}
            </>
          )}
        </Shown>
      ),
      workers: <PullWorkers part={workers} pipeline={given["pipeline"]} />,
    },
  };
}

function Filter({ given, filtered }: { given: Record<string, string>; filtered: boolean }) {
  const text = (name: "pipeline" | "tenant") => (
    <label>
      <span>{name}</span>
      <input name={name} value={given[name] ?? ""} size={12} placeholder="any" />
    </label>
  );
  return (
    <form class="filter" method="get" action="/jobs">
      {text("pipeline")}
      <Choice
        name="state"
        given={given["state"]}
        options={[["open", "open"], ...STATES.map((state): [string, string] => [state, state])]}
      />
      {text("tenant")}
      <button>Filter</button>
      {filtered && <a href="/jobs">Clear</a>}
    </form>
  );
}

function None({ filtered, paged }: { filtered: boolean; paged: boolean }) {
  if (paged) return <Empty>No job is older than this page.</Empty>;
  if (filtered) {
    return (
      <Empty>
        No job matches this filter. <a href="/jobs">Show all</a>
      </Empty>
    );
  }
  return (
    <Empty command="holdfast job submit <items.ndjson> --pipeline <name>">
      No job yet. The first one comes with a file of items, one JSON object a line:
    </Empty>
  );
}

function Rows({ items }: { items: JobView[] }) {
  return (
    <Table
      label="jobs"
      look="wide rows"
      head={
        <>
          <th>State</th>
          <th>Job</th>
          <th>Tenant</th>
          <th>Progress</th>
          <th>Accepted</th>
          <th>Outcomes</th>
        </>
      }
    >
      {items.map((job) => (
        <tr>
          <td>
            <a class="bare" href={`/jobs/${job.id}`}>
              <StateBadge state={job.shown} />
            </a>
          </td>
          <td class="cut" title={job.pipeline}>
            <span class="kind">{job.pipeline}</span> <Id id={job.id} href={`/jobs/${job.id}`} />
            {job.generation > 1 && <span class="faint"> run {number(job.generation)}</span>}
          </td>
          <td class="cut" title={job.tenant}>
            {job.tenant}
          </td>
          <td>
            <Far job={job} />
            {job.finishedAt === null && (
              <div>
                <Pace job={job} />
              </div>
            )}
          </td>
          <td>
            <Ago at={job.acceptedAt} />
          </td>
          <td class="words">
            <OutcomeCounts brief counts={job.counts} href={`/operations/${job.id}`} />
            {job.holdup && !isCollecting(job) && (
              <div>
                <Holdup job={job} />
              </div>
            )}
          </td>
        </tr>
      ))}
    </Table>
  );
}

// How many items there will be is known when all are collected.
function Far({ job }: { job: JobView }) {
  if (isCollecting(job)) return <>{counted(job.total, "item")} collected so far</>;
  return <Progress done={settled(job)} total={job.total} />;
}

const isCollecting = ({ progress }: JobView) => progress.stages[0]?.progress !== 1;

function settled({ counts, total }: JobView): number {
  return Math.min(
    total,
    Object.values(counts).reduce((sum, n) => sum + n, 0),
  );
}
