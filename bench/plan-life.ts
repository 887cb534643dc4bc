import { setTimeout as sleep } from "node:timers/promises";
import { Client, Connection } from "@temporalio/client";
import type { EntityInput } from "../client/index.ts";
import { RECONCILE_QUEUE } from "../db/plan-due.ts";
import type { Stack } from "../dev/stack.ts";
import { percentile } from "./figures.ts";
import type { Frame } from "./frame.ts";
import { feedLine } from "./inventory-feed.ts";
import { INVENTORY_CONFIG } from "./plan-scene.ts";
import { openScene, type Scene } from "./scene.ts";
import config from "./inventory.config.ts";

const MESSAGE = 1_000;
/** A network that trickles in. */
const TRICKLE = { message: 10, everyMs: 100 };

/** From the inbox into the inventory with Temporal and a worker, as they run in production. */
export async function measureLife(frame: Frame): Promise<void> {
  const scene = await openScene(frame, { config, path: INVENTORY_CONFIG });
  await scene.startWorker();
  await measureFlood(frame, scene);
  await measureLatency(frame, scene);
  await frame.close();
}

async function measureFlood(frame: Frame, scene: Scene): Promise<void> {
  const size = frame.quick ? 5_000 : 50_000;
  const before = await eventsOf(scene.stack);
  const startedAt = performance.now();
  for (let no = 0; no < size; no += MESSAGE) await takeIn(scene, "flood", no, MESSAGE);
  await applied(scene, "flood");
  const seconds = (performance.now() - startedAt) / 1_000;
  const events = (await eventsOf(scene.stack)) - before;
  const what = `${size.toLocaleString("en")} entities, inbox to inventory through a worker`;
  frame.measure(what, size / seconds, "entities/s");
  frame.measure("Temporal events per 1,000 of them", (1_000 * events) / size, "events");
}

async function measureLatency(frame: Frame, scene: Scene): Promise<void> {
  const messages = frame.quick ? 20 : 600;
  const startedAt = performance.now();
  for (let no = 0; no < messages; no++) {
    await takeIn(scene, "trickle", no * TRICKLE.message, TRICKLE.message);
    await sleep(Math.max(0, startedAt + (no + 1) * TRICKLE.everyMs - performance.now()));
  }
  await applied(scene, "trickle");
  const perSecond = (1_000 * TRICKLE.message) / TRICKLE.everyMs;
  const busy = await latencies(scene, "trickle");
  frame.measure(`accepted to applied, ${perSecond} entities/s, p50`, percentile(busy, 50), "ms");
  frame.measure("the same, p95", percentile(busy, 95), "ms");

  const single = frame.quick ? 2 : 15;
  for (let no = 0; no < single; no++) {
    // Long enough for the drain to rest.
    await sleep(4_000);
    await takeIn(scene, "rested", no, 1);
    await applied(scene, "rested");
  }
  const rested = await latencies(scene, "rested");
  frame.measure(
    "accepted to applied, nothing before it for 4 s, p50",
    percentile(rested, 50),
    "ms",
  );
  frame.measure("the same, p95", percentile(rested, 95), "ms");
}

async function takeIn({ holdfast }: Scene, tenant: string, first: number, count: number) {
  const entities = Array.from(
    { length: count },
    (_, at) => JSON.parse(feedLine(first + at)) as EntityInput,
  );
  await holdfast.inbox.ingest(entities, { tenant });
}

/** Waits until everything of a tenant is applied. */
async function applied({ holdfast: { db } }: Scene, tenant: string): Promise<void> {
  for (;;) {
    const { rows } = await db.query<{ state: number }>(
      "select state from holdfast.entities where tenant = $1 and settled_at is null limit 1",
      [tenant],
    );
    if (rows.length === 0) break;
    await sleep(25);
  }
  const { rows } = await db.query<{ n: number }>(
    "select count(*)::int as n from holdfast.entities where tenant = $1 and state <> 3",
    [tenant],
  );
  if (rows[0]!.n > 0) throw new Error(`${rows[0]!.n} of ${tenant} were not applied`);
}

/** Milliseconds, by the clock of Postgres, of each entity. */
async function latencies({ holdfast: { db } }: Scene, tenant: string): Promise<number[]> {
  const { rows } = await db.query<{ ms: number }>(
    `select extract(epoch from settled_at - accepted_at)::float8 * 1000 as ms
       from holdfast.entities where tenant = $1`,
    [tenant],
  );
  return rows.map(({ ms }) => ms);
}

/** Events of every run of the drains, as Temporal holds them. */
async function eventsOf(stack: Stack): Promise<number> {
  const connection = await Connection.connect({ address: stack.temporalAddress });
  try {
    const { workflow } = new Client({ connection, namespace: stack.namespace });
    let events = 0;
    for await (const run of workflow.list({ query: `WorkflowType = '${RECONCILE_QUEUE}'` })) {
      const history = await workflow.getHandle(run.workflowId, run.runId).fetchHistory();
      events += history.events?.length ?? 0;
    }
    return events;
  } finally {
    await connection.close();
  }
}
