import { deliveriesOfOperation } from "../../db/delivery-status.ts";
import { recentlyDone } from "../../db/throughput.ts";
import type { ConsoleDeps } from "../deps.ts";
import type { Body } from "./body.ts";
import { shortId } from "./format.ts";
import type { Visit } from "./frame.tsx";
import { AuditTrail, Events } from "./operation-record.tsx";
import { Children, Items } from "./operation-ledger.tsx";
import { Logs, readLogs } from "./operation-logs.tsx";
import { operationQuery } from "./operation-query.ts";
import { Header } from "./operation-header.tsx";
import { Stages } from "./operation-stages.tsx";
import { Timeline } from "./operation-timeline.tsx";
import { part, type Reading } from "./reading.ts";

const ITEMS = 25;
const CHILDREN = 20;
const RATE_SECONDS = 60;

/** Everything about one operation. @throws NotFound, InvalidInput */
export async function operationBody(
  { caller, read, url }: Visit,
  settings: ConsoleDeps["settings"],
  id: string,
): Promise<Body> {
  const { holdfast, db } = read;
  const query = operationQuery(url);
  const view = await holdfast.operation.get(id);
  const [rates, children, items, logs, events, deliveries, audit] = await Promise.all([
    view.finishedAt ? { value: [] } : part(() => recentlyDone(db, id, RATE_SECONDS)),
    part(() =>
      holdfast.operation.batches(id, {
        limit: CHILDREN,
        ...(query.childrenAfter && { after: query.childrenAfter }),
      }),
    ),
    part(() =>
      holdfast.operation.items(id, {
        limit: ITEMS,
        ...(query.outcome && { outcome: query.outcome }),
        ...(query.batch && { batch: query.batch }),
        ...(query.itemsAfter && { after: query.itemsAfter }),
      }),
    ),
    readLogs(read, id, query),
    part(() => holdfast.operation.events(id)),
    part(() => deliveriesOfOperation(db, id)),
    part(() => holdfast.operation.audit(id)),
  ]);
  return {
    title: `${view.kind} ${shortId(view.id)}`,
    at: "operations",
    ended: view.finishedAt !== null,
    sections: {
      head: (
        <Header view={view} caller={caller} settings={settings} did={url.searchParams.get("did")} />
      ),
      stages: <Stages view={view} rates={rates} />,
      items: <Items view={view} part={items} query={query} url={url} />,
      children: <Children view={view} part={children} url={url} />,
      timeline: <Timeline view={view} audit={audit} />,
      logs: <Logs part={logs} query={query} url={url} />,
      events: <Events events={events} deliveries={deliveries} />,
      audit: <AuditTrail part={audit} />,
    },
  };
}

/** Changes when there is something new to show; costs a fraction of the page. */
export async function operationPulse({ holdfast }: Reading, id: string): Promise<string> {
  return JSON.stringify(await holdfast.operation.get(id));
}
