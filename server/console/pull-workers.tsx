import type { PullWorkerView } from "../../contracts/job.ts";
import { number } from "./format.ts";
import { Ago, Empty, Shown, Table } from "./pieces.tsx";
import type { Part } from "./reading.ts";
import { StateBadge } from "./state-badge.tsx";

const SHOWN_WORKERS = 25;

/** Who pulls, last seen first: what they ask for, and how much they hold of whatever job. */
export function PullWorkers(props: { part: Part<PullWorkerView[]>; pipeline: string | undefined }) {
  const { part, pipeline } = props;
  return (
    <>
      <h2>Pull workers {pipeline && <span class="faint">that ask for {pipeline}</span>}</h2>
      <Shown part={of(part, pipeline)}>
        {(workers) =>
          workers.length === 0 ? (
            <Empty>
              Nobody has asked for work yet. A worker claims batches with <code>job.claim()</code>{" "}
              or <code>POST /v1/jobs/claim</code>, and is listed here from then on.
            </Empty>
          ) : (
            <>
              <Table
                label="pull workers"
                head={
                  <>
                    <th>Worker</th>
                    <th>Is</th>
                    <th>Last seen</th>
                    <th class="num">Holds batches</th>
                    <th>Asks for</th>
                  </>
                }
              >
                {workers.slice(0, SHOWN_WORKERS).map((worker) => (
                  <tr>
                    <td class="cut" title={worker.worker}>
                      {worker.worker}
                    </td>
                    <td>
                      <StateBadge state={worker.online ? "online" : "offline"} />
                    </td>
                    <td>
                      <Ago at={worker.seenAt} />
                    </td>
                    <td class="num">{number(worker.held)}</td>
                    <td class="cut" title={worker.pipelines.join(", ")}>
                      {worker.pipelines.join(", ")}
                    </td>
                  </tr>
                ))}
              </Table>
              {workers.length > SHOWN_WORKERS && (
                <p class="faint">
                  The {SHOWN_WORKERS} seen last, of {number(workers.length)}. All of them:{" "}
                  <code class="command">holdfast job workers</code>
                </p>
              )}
            </>
          )
        }
      </Shown>
    </>
  );
}

function of(part: Part<PullWorkerView[]>, pipeline: string | undefined): Part<PullWorkerView[]> {
  if (pipeline === undefined || !("value" in part)) return part;
  return { value: part.value.filter(({ pipelines }) => pipelines.includes(pipeline)) };
}
