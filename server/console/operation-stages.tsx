import type { OperationView, StageProgress } from "../../contracts/operation.ts";
import { number, span } from "./format.ts";
import { OutcomeCounts } from "./outcome-counts.tsx";
import { Progress, Table } from "./pieces.tsx";
import { valueOr, type Part } from "./reading.ts";

interface Rate {
  stage: string;
  n: number;
  overSeconds: number;
}

/** How far each stage is, how fast, and when it may be done. */
export function Stages({ view, rates }: { view: OperationView; rates: Part<Rate[]> }) {
  const known = valueOr(rates, []);
  return (
    <>
      <h2>Progress</h2>
      <Table
        label="stages"
        head={
          <>
            <th>Stage</th>
            <th>Items</th>
            <th class="num">Rate</th>
            <th>Time left</th>
            <th>Outcomes</th>
          </>
        }
      >
        {view.stages.map((stage) => {
          const perSecond = rateOf(view, stage, known);
          return (
            <tr>
              <td>{stage.stage}</td>
              <td>
                <Progress done={stage.done} total={stage.total} />
              </td>
              <td class="num">{perSecond === undefined ? unknown : rateInWords(perSecond)}</td>
              <td>{timeLeft(view, stage, perSecond)}</td>
              <td>
                <OutcomeCounts counts={stage.counts} href={`/operations/${view.id}`} />
              </td>
            </tr>
          );
        })}
      </Table>
    </>
  );
}

const unknown = <span class="faint">unknown</span>;

// While it runs: of the last minute. When it has ended: of the whole run, of which earlier
// generations are no part.
function rateOf(view: OperationView, stage: StageProgress, rates: readonly Rate[]) {
  if (view.finishedAt === null) {
    const rate = rates.find((one) => one.stage === stage.stage);
    return rate && rate.n / rate.overSeconds;
  }
  if (!view.startedAt || view.generation > 1 || stage.done === 0) return undefined;
  const seconds = (Date.parse(view.finishedAt) - Date.parse(view.startedAt)) / 1_000;
  return stage.done / Math.max(seconds, 0.1);
}

function rateInWords(perSecond: number): string {
  if (perSecond >= 10) return `${number(Math.round(perSecond))}/s`;
  if (perSecond >= 1) return `${perSecond.toFixed(1)}/s`;
  return `${number(Math.max(1, Math.round(perSecond * 60)))}/min`;
}

function timeLeft(view: OperationView, stage: StageProgress, perSecond: number | undefined) {
  if (view.finishedAt !== null || stage.done >= stage.total)
    return <span class="faint">ended</span>;
  if (!perSecond || view.shown !== "running") return unknown;
  return `about ${span(((stage.total - stage.done) / perSecond) * 1_000)}`;
}
