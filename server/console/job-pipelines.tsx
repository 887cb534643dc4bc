import type { PipelineView, PullWorkerView } from "../../contracts/job.ts";
import { counted, number, span } from "./format.ts";
import { Shown, Table } from "./pieces.tsx";
import { valueOr, type Part } from "./reading.ts";

const SHOWN_PIPELINES = 10;
const SHOWN_ALARMS = 3;

interface Waiting {
  pipelines: Part<PipelineView[]>;
  workers: Part<PullWorkerView[]>;
}

/** What may be claimed, and who is there to claim it; the longest wait first. */
export function Pipelines({ pipelines, workers }: Waiting) {
  return (
    <>
      <h2>Waiting for pull workers</h2>
      <Shown part={pipelines}>
        {(all) =>
          all.length === 0 ? (
            <p class="faint">Nothing waits: no batch is ready to be claimed.</p>
          ) : (
            <>
              <Table
                label="pipelines"
                head={
                  <>
                    <th>Pipeline</th>
                    <th>Workers</th>
                    <th class="num">Batches ready</th>
                    <th>Oldest wait</th>
                    <th class="num">Jobs</th>
                    <th>Tenant</th>
                  </>
                }
              >
                {byWait(all)
                  .slice(0, SHOWN_PIPELINES)
                  .map((row) => (
                    <PipelineRow row={row} workers={valueOr(workers, [])} />
                  ))}
              </Table>
              {all.length > SHOWN_PIPELINES && (
                <p class="faint">
                  The {SHOWN_PIPELINES} that wait longest, of {number(all.length)}. All of them:{" "}
                  <code class="command">holdfast job pipelines</code>
                </p>
              )}
            </>
          )
        }
      </Shown>
    </>
  );
}

function PipelineRow({ row, workers }: { row: PipelineView; workers: PullWorkerView[] }) {
  const jobs = jobsAddress(row);
  return (
    <tr>
      <td class="cut" title={row.pipeline}>
        <a href={jobs}>{row.pipeline}</a>
      </td>
      <td>
        {row.workersOnline > 0 ? (
          <a href={`/jobs?${new URLSearchParams({ pipeline: row.pipeline })}#workers`}>
            {number(row.workersOnline)} online
          </a>
        ) : (
          <span class="bad">{nobodyIn(row, workers)}</span>
        )}
      </td>
      <td class="num">{number(row.ready)}</td>
      <td>{span(row.oldestSeconds * 1_000)}</td>
      <td class="num">
        <a href={jobs}>{number(row.jobs)}</a>
      </td>
      <td class="cut" title={row.tenant}>
        {row.tenant}
      </td>
    </tr>
  );
}

/** Pipelines with work and nobody to do it: the first thing to know of jobs. */
export function Unserved({ pipelines, workers }: Waiting) {
  const unserved = byWait(valueOr(pipelines, [])).filter(
    ({ workersOnline }) => workersOnline === 0,
  );
  const more = unserved.length - SHOWN_ALARMS;
  return (
    <>
      {unserved.slice(0, SHOWN_ALARMS).map((row) => (
        <p class="alarm" role="alert">
          Pipeline <a href={jobsAddress(row)}>{row.pipeline}</a> of {row.tenant}:{" "}
          {counted(row.ready, "batch", "batches")} ready, {nobodyIn(row, valueOr(workers, []))}.
          They are kept, and begin when a worker claims them.
        </p>
      ))}
      {more > 0 && (
        <p class="alarm">
          <a href="/jobs">{counted(more, "more pipeline")}</a> {more === 1 ? "has" : "have"} work
          and no worker online.
        </p>
      )}
    </>
  );
}

function nobodyIn({ pipeline }: PipelineView, workers: readonly PullWorkerView[]): string {
  const seen = workers
    .filter((worker) => worker.pipelines.includes(pipeline))
    .map((worker) => Date.parse(worker.seenAt));
  if (seen.length === 0) return "no worker has ever asked for it";
  return `no worker online for ${span(Date.now() - Math.max(...seen))}`;
}

function byWait(pipelines: readonly PipelineView[]): PipelineView[] {
  return pipelines.toSorted((a, b) => b.oldestSeconds - a.oldestSeconds);
}

function jobsAddress({ pipeline, tenant }: PipelineView): string {
  return `/jobs?${new URLSearchParams({ pipeline, tenant, state: "open" })}`;
}
