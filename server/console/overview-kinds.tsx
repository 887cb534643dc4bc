import type { countOperations } from "../../db/operations.ts";
import { number } from "./format.ts";
import { Ago, Empty, Shown, Table } from "./pieces.tsx";
import type { Part } from "./reading.ts";

type Counts = Awaited<ReturnType<typeof countOperations>>;

/** What is open and what ended in 24 hours, each number leading to its rows. */
export function ByKind({ part }: { part: Part<Counts> }) {
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
