import { listBrakes } from "../../db/brakes.ts";
import { deliveryDepth } from "../../db/delivery-status.ts";
import { listFindings } from "../../db/findings.ts";
import { readIndexLanes } from "../../db/index-lanes.ts";
import { lastExamined } from "../../db/installation.ts";
import { markDepths } from "../../db/marks.ts";
import { countOperations } from "../../db/operations.ts";
import { finishedInLastHour, overdueStarts } from "../../db/throughput.ts";
import { countReviews } from "../../db/review-counts.ts";
import { onlineWorkers } from "../../db/workers.ts";
import type { Body } from "./body.ts";
import { FinishedChart } from "./finished-chart.tsx";
import { Pipelines, Unserved } from "./job-pipelines.tsx";
import { Holds } from "./holds.tsx";
import { InventoryLag } from "./overview-inventory.tsx";
import { COUNTED_TO } from "./review.tsx";
import { Brakes } from "./overview-brakes.tsx";
import { Findings, Narrow, Overdue, SHOWN_FINDINGS } from "./overview-findings.tsx";
import { ByKind } from "./overview-kinds.tsx";
import { Queues, Workers } from "./overview-queues.tsx";
import { part, valueOr, type Reading } from "./reading.ts";

const START_BOUND_SECONDS = 30;

/** Is anything wrong, what is waiting, and who holds what back. Needs Postgres alone. */
export async function overviewBody({ db, holdfast, tenants }: Reading): Promise<Body> {
  const wide = tenants === undefined;
  const [
    findings,
    examined,
    overdue,
    counts,
    finished,
    marks,
    lanes,
    deliveries,
    workers,
    brakes,
    pipelines,
    pullWorkers,
    inbox,
    holds,
    reviews,
  ] = await Promise.all([
    wide ? part(() => listFindings(db, SHOWN_FINDINGS + 1)) : undefined,
    part(() => lastExamined(db)),
    wide ? part(() => overdueStarts(db, START_BOUND_SECONDS)) : undefined,
    part(() => countOperations(db, tenants)),
    part(() => finishedInLastHour(db, tenants)),
    wide ? part(() => markDepths(db)) : undefined,
    wide ? part(() => readIndexLanes(db)) : undefined,
    wide ? part(() => deliveryDepth(db)) : undefined,
    part(() => onlineWorkers(db)),
    part(() => listBrakes(db)),
    part(() => holdfast.job.pipelines()),
    part(() => holdfast.job.workers()),
    part(() => holdfast.inbox.status()),
    part(() => holdfast.inventory.holds.list()),
    part(() => countReviews(db, tenants, COUNTED_TO)),
  ]);
  return {
    title: "Overview",
    at: "overview",
    sections: {
      findings: (
        <>
          <h1>Overview</h1>
          {overdue && <Overdue part={overdue} online={valueOr(workers, []).length} />}
          <Unserved pipelines={pipelines} workers={pullWorkers} />
          <Holds part={holds} />
          {findings ? (
            <Findings part={findings} examined={valueOr(examined, null)} />
          ) : (
            <Narrow tenants={tenants!} />
          )}
        </>
      ),
      "by-kind": <ByKind part={counts} />,
      inventory: <InventoryLag inbox={inbox} reviews={reviews} />,
      finished: <FinishedChart part={finished} />,
      brakes: <Brakes part={brakes} tenants={tenants} />,
      ...(marks && lanes && deliveries
        ? { queues: <Queues marks={marks} lanes={lanes} deliveries={deliveries} /> }
        : {}),
      pipelines: <Pipelines pipelines={pipelines} workers={pullWorkers} />,
      workers: <Workers part={workers} />,
    },
  };
}
