import type { JobView } from "../../contracts/job.ts";
import type { OperationView } from "../../contracts/operation.ts";
import type { JobRow } from "../../db/jobs.ts";
import type { ConsoleDeps } from "../deps.ts";
import { counted, number, shortId, span } from "./format.ts";
import { Acts, Done, Fact, Why, Workflow } from "./operation-header.tsx";
import { Ago, Copy } from "./pieces.tsx";
import type { Caller } from "./sessions.ts";
import { StateBadge } from "./state-badge.tsx";

const SECTIONS = ["progress", "work", "errors", "logs"];

/** Which job it is, how it stands and what keeps it, and what may be done about it. */
export function JobHeader(props: {
  job: JobView;
  view: OperationView;
  row: JobRow | undefined;
  caller: Caller;
  settings: ConsoleDeps["settings"];
  did: string | null;
}) {
  const { job, view, row, caller, settings, did } = props;
  const open = job.finishedAt === null;
  return (
    <>
      <p class="crumbs">
        <a href="/jobs">Jobs</a> /{" "}
        <a href={`/jobs?${new URLSearchParams({ pipeline: job.pipeline })}`}>{job.pipeline}</a>
      </p>
      <div class="title">
        <h1>
          {job.pipeline} <code title={job.id}>…{shortId(job.id)}</code>
        </h1>
        <Copy text={job.id} />
        <StateBadge state={job.shown} />
        <Acts view={view} caller={caller} />
      </div>
      <Done did={did} audit={`/operations/${job.id}#audit`} />
      {open && job.holdup && (
        <p class={job.holdup.kind === "collecting" ? "why" : "why held"}>{job.holdup.text}</p>
      )}
      <Why view={{ ...view, shown: job.shown }} />
      <dl class="facts">
        <Fact name="Tenant">
          <a href={`/jobs?${new URLSearchParams({ tenant: job.tenant })}`}>{job.tenant}</a>
        </Fact>
        {job.key && (
          <Fact name="Key">
            <code>{job.key}</code>
          </Fact>
        )}
        <Fact name="Submitted by">{view.submittedBy}</Fact>
        <Fact name="Accepted">
          <Ago at={job.acceptedAt} />
        </Fact>
        <Fact name="Started">
          {job.startedAt ? <Ago at={job.startedAt} /> : <span class="faint">not yet</span>}
        </Fact>
        <Fact name="Finished">
          {job.finishedAt ? (
            <>
              <Ago at={job.finishedAt} />, after{" "}
              {span(Date.parse(job.finishedAt) - Date.parse(job.startedAt ?? job.acceptedAt))}
            </>
          ) : (
            <span class="faint">not yet</span>
          )}
        </Fact>
        {job.generation > 1 && <Fact name="Generation">{number(job.generation)}</Fact>}
        {row && <Terms row={row} />}
        <Fact name="Operation">
          <a href={`/operations/${job.id}`}>items, events, audit</a>
        </Fact>
        <Fact name="Workflow">
          <Workflow id={view.workflowId} settings={settings} />
        </Fact>
      </dl>
      <p class="jumps">
        {SECTIONS.map((section) => (
          <a href={`#${section}`}>{section}</a>
        ))}
        <a href={`/jobs/${job.id}/results`}>results</a>
      </p>
    </>
  );
}

/** On what terms its batches are handed out, and when it counts as failed. */
function Terms({ row }: { row: JobRow }) {
  return (
    <>
      <Fact name="Batches">of {counted(row.batch_size, "item")}</Fact>
      <Fact name="Lease">{span(row.lease_seconds * 1_000)}</Fact>
      <Fact name="Sign of life">every {span(row.heartbeat_seconds * 1_000)}</Fact>
      <Fact name="Handed out">
        {row.deliveries === 1 ? "once" : `at most ${number(row.deliveries)} times`}
      </Fact>
      <Fact name="Fails above">
        {number(Math.round(row.max_failed_share * 1_000) / 10)} % failed
      </Fact>
    </>
  );
}
