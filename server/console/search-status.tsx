import type { SearchIndexView, SearchLaneView, SearchStatus } from "../../contracts/search.ts";
import type { Body } from "./body.ts";
import { counted, number } from "./format.ts";
import { Ago, Empty, Id, Shown, Table } from "./pieces.tsx";
import { part, type Reading } from "./reading.ts";
import { StateBadge } from "./state-badge.tsx";

/** Every index: is it true, what waits for it, and what to do where it is not. */
export async function searchStatusBody({ holdfast }: Reading): Promise<Body> {
  const status = await part(() => holdfast.search.status());
  return {
    title: "How search stands",
    at: "search",
    sections: {
      head: (
        <>
          <p class="crumbs">
            <a href="/search">Search</a>
          </p>
          <h1>How search stands</h1>
          <Shown part={status}>{(value) => <Head status={value} />}</Shown>
        </>
      ),
      ...("value" in status && {
        indexes: <Indexes indexes={status.value.indexes} />,
        lanes: <Lanes lanes={status.value.lanes} />,
      }),
    },
  };
}

function Head({ status: { indexes, lanes, visibleAfter, trigrams } }: { status: SearchStatus }) {
  const wrong = indexes.flatMap(({ schema, type, problems }) =>
    problems.map((problem) => ({ name: `${schema}.${type}`, problem })),
  );
  const waiting = lanes.reduce((sum, { marks }) => sum + marks, 0);
  const { count, p50, p95, p99 } = visibleAfter;
  return (
    <>
      <p>
        {waiting === 0
          ? "Nothing waits: search shows what is committed."
          : `${counted(waiting, "mark")} ${waiting === 1 ? "waits" : "wait"} to be applied.`}{" "}
        {count > 0 && p50 !== null && (
          <>
            What is committed is found after {seconds(p50)}; 95 % within {seconds(p95)}, 99 % within{" "}
            {seconds(p99)}.
          </>
        )}
      </p>
      {wrong.map(({ name, problem }) => (
        <p class="alarm">
          <strong>{name}</strong>: {problem}.
        </p>
      ))}
      {lanes
        .filter(({ failingSince }) => failingSince !== null)
        .map(({ lane, failingSince, lastError }) => (
          <p class="alarm">
            <strong>Lane {lane}</strong> fails since <Ago at={failingSince} /> and is tried again:{" "}
            {lastError ?? "the worker's log says why"}
          </p>
        ))}
      {!trigrams && (
        <p class="missing">
          The extension pg_trgm is not there: every look-up works and reads all values. An
          administrator makes it with <code class="command">create extension pg_trgm</code>, then{" "}
          <code class="command">select holdfast.index_trigrams()</code>.
        </p>
      )}
    </>
  );
}

function seconds(value: number | null): string {
  if (value === null) return "an unknown time";
  return value < 1 ? `${Math.round(value * 1_000)} ms` : `${Math.round(value * 10) / 10} s`;
}

function Indexes({ indexes }: { indexes: SearchIndexView[] }) {
  return (
    <>
      <h2>Indexes</h2>
      {indexes.length === 0 ? (
        <Empty command="holdfast search install">Nothing is searchable yet. To begin:</Empty>
      ) : (
        <Table
          label="indexes"
          look="wide"
          head={
            <>
              <th>Schema</th>
              <th>Type</th>
              <th class="num">Objects</th>
              <th class="num">Marks</th>
              <th>Oldest</th>
              <th class="num">Held</th>
              <th>Built</th>
              <th>State</th>
            </>
          }
        >
          {indexes.map((index) => (
            <tr>
              <td>{index.schema}</td>
              <td>
                {index.label} <span class="faint">{index.type}</span>
              </td>
              <td class="num">{number(index.objects)}</td>
              <td class="num">{number(index.marks)}</td>
              <td>
                {index.oldestMarkAt ? (
                  <Ago at={index.oldestMarkAt} />
                ) : (
                  <span class="faint">-</span>
                )}
              </td>
              <td class={`num ${index.quarantined > 0 ? "bad" : ""}`}>
                {number(index.quarantined)}
              </td>
              <td>
                <Ago at={index.builtAt} />
              </td>
              <td>
                <State index={index} />
              </td>
            </tr>
          ))}
        </Table>
      )}
    </>
  );
}

function State({ index: { installed, building, problems } }: { index: SearchIndexView }) {
  if (building) {
    return (
      <>
        <StateBadge state="building" />{" "}
        <Id id={building.operationId} href={`/operations/${building.operationId}`} />{" "}
        {counted(building.objects, "object")}
      </>
    );
  }
  if (!installed) return <StateBadge state="not installed" />;
  return <StateBadge state={problems.length > 0 ? "not as it should be" : "follows its table"} />;
}

function Lanes({ lanes }: { lanes: SearchLaneView[] }) {
  return (
    <>
      <h2>Lanes of the drain</h2>
      <Table
        label="lanes"
        head={
          <>
            <th class="num">Lane</th>
            <th class="num">Marks</th>
            <th>Oldest</th>
            <th class="num">Objects applied</th>
            <th>State</th>
          </>
        }
      >
        {lanes.map((lane) => (
          <tr>
            <td class="num">{lane.lane}</td>
            <td class="num">{number(lane.marks)}</td>
            <td>
              {lane.oldestMarkAt ? <Ago at={lane.oldestMarkAt} /> : <span class="faint">-</span>}
            </td>
            <td class="num">{number(lane.applied)}</td>
            <td>
              <StateBadge state={lane.failingSince ? "failing" : "works"} />
            </td>
          </tr>
        ))}
      </Table>
    </>
  );
}
