import type { JobView } from "../../contracts/job.ts";
import type { JobWorkerRow } from "../../db/job-status.ts";
import { counted, number } from "./format.ts";
import { Fact } from "./operation-header.tsx";
import { itemsAddress } from "./job-pace.tsx";
import { Ago, Empty, Shown, Table } from "./pieces.tsx";
import type { Part } from "./reading.ts";
import { StateBadge } from "./state-badge.tsx";

export const SHOWN_WORKERS = 50;

/** Who works on it and holds what, and what became of all that was handed out. */
export function JobWork({ job, workers }: { job: JobView; workers: Part<JobWorkerRow[]> }) {
  return (
    <>
      <h2>
        Workers and leases{" "}
        {job.finishedAt === null && (
          <span class="faint">{counted(job.workersOnline, "worker")} online</span>
        )}
      </h2>
      <Leases job={job} />
      <Shown part={workers}>
        {(rows) =>
          rows.length > 0 ? (
            <WorkerRows rows={rows} />
          ) : (
            job.finishedAt === null && (
              <Empty>
                Nobody holds a batch and no worker of pipeline {job.pipeline} is online. A worker
                begins with <code>job.claim()</code> or <code>POST /v1/jobs/claim</code>.
              </Empty>
            )
          )
        }
      </Shown>
    </>
  );
}

function Leases({ job }: { job: JobView }) {
  const { batches, leases, counts } = job;
  const lost = counts.lost ?? 0;
  return (
    <dl class="facts">
      <Fact name="Batches ready">{number(batches.ready)}</Fact>
      <Fact name="Batches held">{number(batches.leased)}</Fact>
      <Fact name="Batches done">{number(batches.done)}</Fact>
      <Fact name="Handed out">
        {number(leases.deliveries)}, {number(leases.redeliveries)} of them again
      </Fact>
      <Fact name="Expired">{number(leases.expiries)}</Fact>
      <Fact name="Given back">{number(leases.releases)}</Fact>
      <Fact name="Items lost">
        {lost > 0 ? (
          <a class="bad" href={itemsAddress(job.id, "lost")}>
            {number(lost)}
          </a>
        ) : (
          "0"
        )}
      </Fact>
      <Fact name="Posted twice">{number(leases.duplicates)}</Fact>
      <Fact name="Posted too late">
        {leases.late > 0 ? (
          <a href={`/jobs/${job.id}/results?show=late`}>{number(leases.late)}</a>
        ) : (
          "0"
        )}
      </Fact>
    </dl>
  );
}

function WorkerRows({ rows }: { rows: JobWorkerRow[] }) {
  return (
    <>
      <Table
        label="workers of this job"
        head={
          <>
            <th>Worker</th>
            <th>Is</th>
            <th>Last seen</th>
            <th class="num">Holds batches</th>
            <th>Which</th>
            <th>Lease ends</th>
          </>
        }
      >
        {rows.slice(0, SHOWN_WORKERS).map((row) => (
          <tr>
            <td class="cut" title={row.holder}>
              {row.worker ?? row.holder}
            </td>
            <td>
              {row.worker === null ? (
                <span class="faint">one of ours</span>
              ) : (
                <StateBadge state={row.online ? "online" : "offline"} />
              )}
            </td>
            <td>{row.seen_at && <Ago at={row.seen_at} />}</td>
            <td class="num">{number(row.held)}</td>
            <td>{batchesOf(row)}</td>
            <td>{row.ends_at && <Ago at={row.ends_at} />}</td>
          </tr>
        ))}
      </Table>
      {rows.length > SHOWN_WORKERS && (
        <p class="faint">
          The first {SHOWN_WORKERS}. All who pull: <code class="command">holdfast job workers</code>
        </p>
      )}
    </>
  );
}

function batchesOf({ batches, held, delivery }: JobWorkerRow): string {
  if (held === 0) return "";
  // What crashed workers is handed out item by item, under minus the number of its item.
  const named = batches.map((no) => (no < 0 ? `item ${number(-no)}` : number(no))).join(", ");
  const more = held > batches.length ? ` and ${number(held - batches.length)} more` : "";
  return `${named}${more}${delivery > 1 ? `; handed out for the ${ordinal(delivery)} time` : ""}`;
}

function ordinal(n: number): string {
  const ends = { one: "st", two: "nd", few: "rd", other: "th", zero: "th", many: "th" };
  return `${n}${ends[ordinals.select(n)]}`;
}

const ordinals = new Intl.PluralRules("en-US", { type: "ordinal" });
