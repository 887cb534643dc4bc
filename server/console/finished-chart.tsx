import type { FinishedSlot } from "../../db/throughput.ts";
import { BarChart } from "./bar-chart.tsx";
import { counted, number } from "./format.ts";
import { Shown } from "./pieces.tsx";
import type { Part } from "./reading.ts";

const SLOTS = 12;
const SLOT_MINUTES = 5;

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
  const said = `${counted(sum(rows, ended), "operation")} with ${counted(
    sum(rows, (row) => row.items),
    "item",
  )}, ${number(sum(rows, (row) => row.failed))} failed; at most ${number(most)} in ${SLOT_MINUTES} minutes`;
  const bars = rows.map((row) => {
    const ago = (SLOTS - row.slot) * SLOT_MINUTES;
    return {
      slot: row.slot,
      title: `${ago} to ${ago - SLOT_MINUTES} min ago: ${number(row.completed)} completed, ${number(row.failed)} failed, ${number(row.cancelled)} cancelled, ${counted(row.items, "item")}`,
      pieces: [
        ["good", row.completed],
        ["quiet", row.cancelled],
        ["bad", row.failed],
      ] as const,
    };
  });
  return <BarChart bars={bars} slots={SLOTS} bar={28} gap={4} said={said} />;
}

const ended = (row: FinishedSlot) => row.completed + row.failed + row.cancelled;

function sum(rows: FinishedSlot[], of: (row: FinishedSlot) => number): number {
  return rows.reduce((total, row) => total + of(row), 0);
}
