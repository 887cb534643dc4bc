import { listBrakes, type BrakeRow } from "../../db/brakes.ts";
import { deliveryDepth } from "../../db/delivery-status.ts";
import { listFindings, type FindingRow } from "../../db/findings.ts";
import { markDepths } from "../../db/marks.ts";
import { countOperations } from "../../db/operations.ts";
import { finishedInLastHour, overdueStarts } from "../../db/throughput.ts";
import { onlineWorkers, type WorkerRow } from "../../db/workers.ts";
import type { Body } from "./body.ts";
import { counted, number } from "./format.ts";
import { FinishedChart } from "./finished-chart.tsx";
import { Ago, Copy, Empty, Shown, Table } from "./pieces.tsx";
import { part, valueOr, type Part, type Reading } from "./reading.ts";

const START_BOUND_SECONDS = 30;
const SHOWN_WORKERS = 50;
const SHOWN_FINDINGS = 50;

/** Is anything wrong, what is waiting, and who holds what back. Needs Postgres alone. */
export async function overviewBody({ db, tenants }: Reading): Promise<Body> {
  const wide = tenants === undefined;
  const [findings, overdue, counts, finished, marks, deliveries, workers, brakes] =
    await Promise.all([
      wide ? part(() => listFindings(db, SHOWN_FINDINGS + 1)) : undefined,
      wide ? part(() => overdueStarts(db, START_BOUND_SECONDS)) : undefined,
      part(() => countOperations(db, tenants)),
      part(() => finishedInLastHour(db, tenants)),
      wide ? part(() => markDepths(db)) : undefined,
      wide ? part(() => deliveryDepth(db)) : undefined,
      part(() => onlineWorkers(db)),
      part(() => listBrakes(db)),
    ]);
  return {
    title: "Overview",
    at: "overview",
    sections: {
      findings: (
        <>
          <h1>Overview</h1>
          {overdue && <Overdue part={overdue} online={valueOr(workers, []).length} />}
          {findings ? <Findings part={findings} /> : <Narrow tenants={tenants!} />}
        </>
      ),
      "by-kind": <ByKind part={counts} />,
      finished: <FinishedChart part={finished} />,
      brakes: <Brakes part={brakes} tenants={tenants} />,
      ...(marks && deliveries ? { queues: <Queues marks={marks} deliveries={deliveries} /> } : {}),
      workers: <Workers part={workers} />,
    },
  };
}

function Narrow({ tenants }: { tenants: readonly string[] }) {
  return (
    <p class="faint">
      Showing {tenants.join(", ")}. Findings and queues are shown to keys that see every tenant.
    </p>
  );
}

function Overdue(props: {
  part: Part<{ n: number; tried: number; oldest: Date | null }>;
  online: number;
}) {
  const { part, online } = props;
  return (
    <Shown part={part}>
      {({ n, tried, oldest }) =>
        n > 0 && (
          <p class="alarm" role="alert">
            <a href="/operations?state=accepted">
              {counted(n, "accepted operation")} {n === 1 ? "has" : "have"} not started
            </a>
            , the oldest due <Ago at={oldest} />.{" "}
            {tried > 0
              ? `The relay has tried ${number(tried)} of them: Temporal does not answer, or no worker takes them.`
              : online === 0
                ? "No worker is online."
                : "Workers are online and have not tried: every place is taken, or their relay hangs."}{" "}
            They are safe in Postgres and start by themselves.
          </p>
        )
      }
    </Shown>
  );
}

const OPERATION_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

function Findings({ part }: { part: Part<FindingRow[]> }) {
  return (
    <>
      <h2>Findings of the doctor</h2>
      <Shown part={part}>
        {(rows) =>
          rows.length === 0 ? (
            <Empty command="holdfast doctor">
              Nothing open: no check has found disagreement. To check now:
            </Empty>
          ) : (
            <>
              <Table
                label="findings"
                look="wide"
                head={
                  <>
                    <th>Finding</th>
                    <th>About</th>
                    <th>Repair</th>
                    <th>Since</th>
                  </>
                }
              >
                {rows.slice(0, SHOWN_FINDINGS).map((row) => (
                  <tr>
                    <td class="words">
                      <strong>{row.message}</strong>
                      <br />
                      <span class="faint">{row.check_name}</span>
                    </td>
                    <td class="cut" title={row.subject}>
                      {OPERATION_ID.test(row.subject) ? (
                        <a href={`/operations/${row.subject}`}>{row.subject}</a>
                      ) : (
                        row.subject
                      )}
                    </td>
                    <td class="words">{row.repair ?? <span class="faint">by hand</span>}</td>
                    <td>
                      <Ago at={row.first_seen_at} />
                    </td>
                  </tr>
                ))}
              </Table>
              <p class="faint">
                {rows.length > SHOWN_FINDINGS && `The first ${SHOWN_FINDINGS}. `}
                To repair what can be repaired:{" "}
                <code class="command">holdfast doctor --repair</code>
              </p>
            </>
          )
        }
      </Shown>
    </>
  );
}

type Counts = Awaited<ReturnType<typeof countOperations>>;

function ByKind({ part }: { part: Part<Counts> }) {
  return (
    <>
      <h2>Operations by kind</h2>
      <Shown part={part}>
        {(rows) =>
          rows.length === 0 ? (
            <Empty command="holdfast retain submit <file> --bank <name>">
              Nothing open, and nothing ended in the last 24 hours. To hand in work:
            </Empty>
          ) : (
            <Table
              label="operations by kind"
              head={
                <>
                  <th>Kind</th>
                  <th class="num">Accepted</th>
                  <th class="num">Running</th>
                  <th>Oldest open</th>
                  <th class="num">Failed, 24 h</th>
                  <th class="num">Completed, 24 h</th>
                </>
              }
            >
              {[...new Set(rows.map((row) => row.kind))].map((kind) => (
                <KindRow kind={kind} rows={rows.filter((row) => row.kind === kind)} />
              ))}
            </Table>
          )
        }
      </Shown>
    </>
  );
}

function KindRow({ kind, rows }: { kind: string; rows: Counts }) {
  const cell = (state: string, tone = "") => {
    const n = rows.find((row) => row.state === state)?.n ?? 0;
    const href = `/operations?kind=${kind}&state=${state}`;
    return (
      <td class={`num ${n > 0 ? tone : ""}`}>{n === 0 ? "0" : <a href={href}>{number(n)}</a>}</td>
    );
  };
  const open = rows.filter((row) => row.state === "accepted" || row.state === "running");
  const oldest = open.map((row) => row.oldest).toSorted((a, b) => a.getTime() - b.getTime())[0];
  return (
    <tr>
      <td>
        <a href={`/operations?kind=${kind}`}>{kind}</a>
      </td>
      {cell("accepted")}
      {cell("running")}
      <td>{oldest ? <Ago at={oldest} /> : <span class="faint">none open</span>}</td>
      {cell("failed", "bad")}
      {cell("completed")}
    </tr>
  );
}

function Brakes({
  part,
  tenants,
}: {
  part: Part<BrakeRow[]>;
  tenants?: readonly string[] | undefined;
}) {
  return (
    <>
      <h2>Brakes in force</h2>
      <Shown part={part}>
        {(all) => {
          const rows = all.filter((brake) => concerns(brake, tenants));
          if (rows.length === 0) {
            return (
              <Empty command={'holdfast brake set kind retain --reason "..."'}>
                None. In an incident a brake holds work back without losing any:
              </Empty>
            );
          }
          return (
            <Table
              label="brakes"
              look="wide"
              head={
                <>
                  <th>Holds back</th>
                  <th>Why</th>
                  <th>Set by</th>
                  <th>Since</th>
                  <th>To lift it</th>
                </>
              }
            >
              {rows.map((brake) => (
                <tr>
                  <td>{`${brake.applies_to} ${brake.name}`}</td>
                  <td class="words">{brake.reason}</td>
                  <td>{brake.set_by}</td>
                  <td>
                    <Ago at={brake.set_at} />
                  </td>
                  <td>
                    <code class="command">{liftCommand(brake)}</code>
                    <Copy text={liftCommand(brake)} />
                  </td>
                </tr>
              ))}
            </Table>
          );
        }}
      </Shown>
    </>
  );
}

function concerns(brake: BrakeRow, tenants: readonly string[] | undefined): boolean {
  if (tenants === undefined) return true;
  if (brake.applies_to === "tenant") return tenants.includes(brake.name);
  if (brake.applies_to === "scope") return tenants.includes(brake.name.split("/")[0]!);
  return true;
}

function liftCommand(brake: BrakeRow): string {
  return `holdfast brake lift ${brake.applies_to} ${/^[\w./-]*$/.test(brake.name) ? brake.name : `'${brake.name.replaceAll("'", String.raw`'\''`)}'`}`.trim();
}

function Queues(props: {
  marks: Part<Awaited<ReturnType<typeof markDepths>>>;
  deliveries: Part<Awaited<ReturnType<typeof deliveryDepth>>>;
}) {
  const row = (name: string, depth: number, oldest: Date | null) => (
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
        {"value" in props.deliveries
          ? row("deliveries", props.deliveries.value.pending, props.deliveries.value.oldest)
          : gap(`deliveries: ${props.deliveries.missing}`)}
      </Table>
    </>
  );
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

function Workers({ part }: { part: Part<WorkerRow[]> }) {
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
