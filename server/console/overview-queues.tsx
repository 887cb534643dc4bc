import type { Child } from "hono/jsx";
import type { deliveryDepth } from "../../db/delivery-status.ts";
import type { LaneRow } from "../../db/index-lanes.ts";
import type { markDepths } from "../../db/marks.ts";
import type { WorkerRow } from "../../db/workers.ts";
import { number } from "./format.ts";
import { Ago, Empty, Shown, Table } from "./pieces.tsx";
import type { Part } from "./reading.ts";

const SHOWN_WORKERS = 50;

/** How deep each queue is, and how old the oldest that is due. */
export function Queues(props: {
  marks: Part<Awaited<ReturnType<typeof markDepths>>>;
  lanes: Part<LaneRow[]>;
  deliveries: Part<Awaited<ReturnType<typeof deliveryDepth>>>;
}) {
  const row = (name: Child, depth: number, oldest: Date | null) => (
    <tr>
      <td>{name}</td>
      <td class="num">{number(depth)}</td>
      <td>{oldest ? <Ago at={oldest} /> : <span class="faint">nothing due</span>}</td>
    </tr>
  );
  return (
    <>
      <h2>Queues</h2>
      <Table
        label="queues"
        head={
          <>
            <th>Queue</th>
            <th class="num">Waiting</th>
            <th>Oldest due</th>
          </>
        }
      >
        {"value" in props.marks
          ? props.marks.value.map((queue) =>
              row(`marks: ${queue.queue}`, queue.depth, queue.oldest),
            )
          : gap(`marks: ${props.marks.missing}`)}
        {"value" in props.lanes
          ? row(
              <a href="/search/status">search</a>,
              props.lanes.value.reduce((sum, lane) => sum + lane.marks, 0),
              oldestOf(props.lanes.value),
            )
          : gap(`search: ${props.lanes.missing}`)}
        {"value" in props.deliveries
          ? row("deliveries", props.deliveries.value.pending, props.deliveries.value.oldest)
          : gap(`deliveries: ${props.deliveries.missing}`)}
      </Table>
    </>
  );
}

function oldestOf(lanes: readonly LaneRow[]): Date | null {
  const times = lanes.flatMap(({ oldestMarkAt }) => (oldestMarkAt ? [oldestMarkAt.getTime()] : []));
  return times.length > 0 ? new Date(Math.min(...times)) : null;
}

function gap(why: string) {
  return (
    <tr>
      <td colspan={3} class="missing">
        {why}
      </td>
    </tr>
  );
}

/** Who works. */
export function Workers({ part }: { part: Part<WorkerRow[]> }) {
  return (
    <>
      <h2>Workers online</h2>
      <Shown part={part}>
        {(rows) =>
          rows.length === 0 ? (
            <Empty command="holdfast worker">
              None has reported in the last 30 s: accepted work waits. To start one:
            </Empty>
          ) : (
            <>
              <Table
                label="workers"
                head={
                  <>
                    <th>Worker</th>
                    <th>Version</th>
                    <th>Up since</th>
                    <th>Last seen</th>
                  </>
                }
              >
                {rows.slice(0, SHOWN_WORKERS).map((worker) => (
                  <tr>
                    <td class="cut" title={worker.identity}>
                      {worker.identity}
                    </td>
                    <td>{worker.version}</td>
                    <td>
                      <Ago at={worker.started_at} />
                    </td>
                    <td>
                      <Ago at={worker.seen_at} />
                    </td>
                  </tr>
                ))}
              </Table>
              {rows.length > SHOWN_WORKERS && (
                <p class="faint">
                  The first {SHOWN_WORKERS} of {number(rows.length)}.
                </p>
              )}
            </>
          )
        }
      </Shown>
    </>
  );
}
