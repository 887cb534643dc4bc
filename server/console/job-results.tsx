import { z } from "zod";
import type { JobResult, LateResult } from "../../contracts/job.ts";
import { parseInput } from "../../client/input.ts";
import type { Body } from "./body.ts";
import { number, shortId } from "./format.ts";
import type { Visit } from "./frame.tsx";
import { itemsAddress } from "./job-pace.tsx";
import { Ago, Empty, NextPage, Shown, Table, withParams } from "./pieces.tsx";
import { part } from "./reading.ts";

const PAGE_SIZE = 50;
/** Characters of a result in its row, and of one that is opened. */
const SHORT = 80;
const LONG = 4_000;

const SHOWS = { results: "results", errors: "errors only", late: "too late" } as const;
const Query = z.object({
  show: z.enum(Object.keys(SHOWS) as [keyof typeof SHOWS]).default("results"),
  after: z.string().max(100).optional(),
});

/** What came back of a job's items, in order of items. @throws NotFound, InvalidInput */
export async function jobResultsBody({ read, url, c }: Visit): Promise<Body> {
  const { job: jobs } = read.holdfast;
  const given = [...url.searchParams].filter(([, value]) => value !== "");
  const { show, after } = parseInput(Query, Object.fromEntries(given));
  const job = await jobs.get(c.req.param("id")!);
  const page = { limit: PAGE_SIZE, ...(after === undefined ? {} : { after }) };
  const rows = await part<{ items: Row[]; next?: string }>(() =>
    show === "late"
      ? jobs.lateResults(job.id, page)
      : jobs.results(job.id, { ...page, ...(show === "errors" && { errors: true }) }),
  );
  return {
    title: `Results of ${job.pipeline} ${shortId(job.id)}`,
    at: "jobs",
    sections: {
      head: (
        <>
          <p class="crumbs">
            <a href="/jobs">Jobs</a> /{" "}
            <a href={`/jobs/${job.id}`}>
              {job.pipeline} …{shortId(job.id)}
            </a>
          </p>
          <h1>Results</h1>
          <p class="tabs">
            {Object.entries(SHOWS).map(([value, words]) => (
              <a
                href={`/jobs/${job.id}/results${value === "results" ? "" : `?show=${value}`}`}
                {...(value === show ? { "aria-current": "true" } : {})}
              >
                {words}
              </a>
            ))}
          </p>
          <p class="faint">
            {show === "late"
              ? "Posted for items that were lost, cancelled or run again: kept, and counted nowhere."
              : "Of each item its newest result. All of them as lines:"}{" "}
            {show !== "late" && <code class="command">holdfast job results {job.id}</code>}
          </p>
        </>
      ),
      results: (
        <Shown part={rows}>
          {({ items, next }) => (
            <>
              {items.length === 0 ? (
                <None show={show} paged={after !== undefined} id={job.id} />
              ) : (
                <Rows items={items} late={show === "late"} />
              )}
              {next && <NextPage href={withParams(url, { after: next })} words="More results" />}
            </>
          )}
        </Shown>
      ),
    },
  };
}

type Row = JobResult & Partial<LateResult>;

const WHY: Record<string, string> = {
  lost: "the item was lost",
  cancelled: "the item was cancelled",
  "older generation": "of an older run",
  ended: "the job had ended",
};

function None(props: { show: keyof typeof SHOWS; paged: boolean; id: string }) {
  if (props.paged) return <Empty>Nothing comes after this page.</Empty>;
  switch (props.show) {
    case "results":
      return <Empty>No result yet; workers post them, batch by batch.</Empty>;
    case "errors":
      return (
        <Empty>
          No worker has posted an error. Items may be lost all the same:{" "}
          <a href={itemsAddress(props.id, "lost")}>lost items</a>.
        </Empty>
      );
    case "late":
      return <Empty>Nothing came too late.</Empty>;
  }
}

function Rows({ items, late }: { items: Row[]; late: boolean }) {
  return (
    <Table
      label="results"
      look="wide hits"
      head={
        <>
          <th>Item</th>
          <th>{late ? "Posted, and why it does not count" : "Result"}</th>
          <th>Counts</th>
          <th>Worker</th>
          <th>Posted</th>
        </>
      }
    >
      {items.map((row) => (
        <tr>
          <td class="cut" title={row.key}>
            <span class="faint">{number(row.item)}</span> {row.key}
          </td>
          <td class="words">
            {row.why !== undefined && <span class="warn">{WHY[row.why] ?? row.why}: </span>}
            <Said row={row} />
          </td>
          <td class="words faint">
            {Object.entries(row.counts ?? {})
              .filter(([, n]) => n > 0)
              .map(([name, n]) => `${name} ${number(n)}`)
              .join(", ")}
          </td>
          <td class="cut" title={row.worker}>
            {workerIn(row.worker)}
          </td>
          <td>
            <Ago at={row.at} />
            {row.generation > 1 && <span class="faint"> run {number(row.generation)}</span>}
          </td>
        </tr>
      ))}
    </Table>
  );
}

// Whoever held the lease is its key and, behind the first slash, the name it gave itself.
function workerIn(holder: string): string {
  return holder.slice(holder.indexOf("/") + 1);
}

/** An error, a reference, or JSON: short ones whole, others to be opened, and never more than fits. */
function Said({ row }: { row: Row }) {
  if (row.error !== undefined) return <span class="bad">{row.error}</span>;
  if (row.reference !== undefined) {
    return (
      <>
        <span class="faint">at</span> <code>{row.reference}</code>
      </>
    );
  }
  const text = JSON.stringify(row.result) ?? "";
  if (text.length <= SHORT) return <code>{text}</code>;
  const whole = JSON.stringify(row.result, null, 2);
  return (
    <details>
      <summary>
        <code>{cut(text, SHORT)}</code>
      </summary>
      <pre class="source">{cut(whole, LONG)}</pre>
      {whole.length > LONG && (
        <p class="faint">
          The first {number(LONG)} of {number(whole.length)} characters.
        </p>
      )}
    </details>
  );
}

// Never through the middle of a character.
function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length).replace(/[\ud800-\udbff]$/, "")}…`;
}
