import type { JobStage, JobView } from "../../contracts/job.ts";
import type { z } from "zod";
import type { SettledSlot } from "../../db/job-status.ts";
import { BarChart } from "./bar-chart.tsx";
import { counted, number } from "./format.ts";
import { Pace } from "./job-pace.tsx";
import { OutcomeCounts } from "./outcome-counts.tsx";
import { Progress, Shown, Table } from "./pieces.tsx";
import type { Part } from "./reading.ts";

const MINUTES = 60;
/** Workers name what they count; a page shows so many of the names. */
const SHOWN_PARAMS = 24;

/** How far each stage is, how fast, until when, and how the items ended. */
export function JobStages({ job, pace }: { job: JobView; pace: Part<SettledSlot[]> }) {
  return (
    <>
      <h2>
        Progress <Pace job={job} />
      </h2>
      <p>
        <OutcomeCounts counts={job.counts} href={`/operations/${job.id}`} />
      </p>
      <Table
        label="stages"
        look="wide hits"
        head={
          <>
            <th>Stage</th>
            <th>Done</th>
            <th>Counts</th>
          </>
        }
      >
        {job.progress.stages.map((stage) => (
          <tr>
            <td>{stage.name}</td>
            <td>
              <Done stage={stage} job={job} />
            </td>
            <td class="words">
              <Params stage={stage} />
            </td>
          </tr>
        ))}
      </Table>
      <Shown part={pace}>{(slots) => slots.length > 0 && <Chart slots={slots} />}</Shown>
    </>
  );
}

type Stage = z.infer<typeof JobStage>;

// What is settled is counted in items; a stage of another measure has its share alone.
function Done({ stage, job }: { stage: Stage; job: JobView }) {
  const processed = stage.params.find(({ key }) => key === "processed")?.value;
  if (typeof processed === "number" && job.total > 0) {
    return <Progress done={processed} total={job.total} />;
  }
  return (
    <span class="progress">
      <progress max={1} value={stage.progress}>
        {Math.floor(stage.progress * 100)} %
      </progress>
      <span class="num">{Math.floor(stage.progress * 100)} %</span>
    </span>
  );
}

function Params({ stage }: { stage: Stage }) {
  const shown = stage.params.filter(({ key }) => key !== "processed").slice(0, SHOWN_PARAMS);
  const more = stage.params.length - SHOWN_PARAMS;
  const said = shown.map(({ name, value }) => `${name} ${inWords(value)}`).join(" · ");
  return (
    <>
      {said}
      {more > 0 && <span class="faint"> and {counted(more, "more count")}</span>}
    </>
  );
}

function inWords(value: string | number): string {
  if (typeof value === "number") return number(value);
  return value === "" ? "unknown" : value;
}

function Chart({ slots }: { slots: SettledSlot[] }) {
  const sum = (of: (slot: SettledSlot) => number) =>
    slots.reduce((total, slot) => total + of(slot), 0);
  const most = Math.max(...slots.map(({ good, bad }) => good + bad));
  const said = `Last hour: ${counted(
    sum(({ good, bad }) => good + bad),
    "item",
  )}, ${number(sum(({ bad }) => bad))} failed or lost; at most ${number(most)} in a minute`;
  const bars = slots.map(({ slot, good, bad }) => ({
    slot,
    title: `${MINUTES - slot} min ago: ${counted(good + bad, "item")}, ${number(bad)} failed or lost`,
    pieces: [
      ["good", good],
      ["bad", bad],
    ] as const,
  }));
  return <BarChart bars={bars} slots={MINUTES} bar={5} gap={1} said={said} />;
}
