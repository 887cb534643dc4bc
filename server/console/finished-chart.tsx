import type { FinishedSlot } from "../../db/throughput.ts";
import { counted, number } from "./format.ts";
import { Shown } from "./pieces.tsx";
import type { Part } from "./reading.ts";

const SLOTS = 12;
const SLOT_MINUTES = 5;
const BAR = 28;
const GAP = 4;
const HEIGHT = 64;

/** Operations that ended in the last hour, a bar per five minutes: completed below, failed on top. */
export function FinishedChart({ part }: { part: Part<FinishedSlot[]> }) {
  return (
    <>
      <h2>Ended in the last hour</h2>
      <Shown part={part}>
        {(rows) =>
          rows.length === 0 ? (
            <p class="faint">No operation has ended in the last hour.</p>
          ) : (
            <Chart rows={rows} />
          )
        }
      </Shown>
    </>
  );
}

function Chart({ rows }: { rows: FinishedSlot[] }) {
  const most = Math.max(...rows.map(ended));
  const operations = sum(rows, ended);
  const failed = sum(rows, (row) => row.failed);
  const said = `${counted(operations, "operation")} with ${counted(
    sum(rows, (row) => row.items),
    "item",
  )}, ${number(failed)} failed; at most ${number(most)} in ${SLOT_MINUTES} minutes`;
  return (
    <figure>
      <svg
        class="chart"
        role="img"
        aria-label={said}
        viewBox={`0 0 ${SLOTS * (BAR + GAP)} ${HEIGHT}`}
        width={SLOTS * (BAR + GAP)}
        height={HEIGHT}
      >
        <path class="axis" d={`M0 ${HEIGHT - 0.5}H${SLOTS * (BAR + GAP)}`} />
        {rows.map((row) => (
          <Bar row={row} most={most} />
        ))}
      </svg>
      <figcaption class="faint">{said}</figcaption>
    </figure>
  );
}

function Bar({ row, most }: { row: FinishedSlot; most: number }) {
  let top = HEIGHT - 1;
  const piece = (tone: string, n: number) => {
    if (n === 0) return null;
    const height = Math.max(2, (n / most) * (HEIGHT - 4));
    top -= height;
    return <rect class={tone} x={row.slot * (BAR + GAP)} y={top} width={BAR} height={height} />;
  };
  const ago = (SLOTS - row.slot) * SLOT_MINUTES;
  return (
    <g>
      <title>
        {`${ago} to ${ago - SLOT_MINUTES} min ago: ${number(row.completed)} completed, ${number(row.failed)} failed, ${number(row.cancelled)} cancelled, ${counted(row.items, "item")}`}
      </title>
      {piece("good", row.completed)}
      {piece("quiet", row.cancelled)}
      {piece("bad", row.failed)}
    </g>
  );
}

const ended = (row: FinishedSlot) => row.completed + row.failed + row.cancelled;

function sum(rows: FinishedSlot[], of: (row: FinishedSlot) => number): number {
  return rows.reduce((total, row) => total + of(row), 0);
}
