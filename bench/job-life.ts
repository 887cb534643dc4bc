import { setTimeout as sleep } from "node:timers/promises";
import type { Claim, ClaimedBatch, JobView, PostAnswer } from "../contracts/job.ts";
import type { Db } from "../db/pool.ts";
import { until } from "../dev/until.ts";
import { percentile } from "./figures.ts";
import type { Frame } from "./frame.ts";
import { historyOfRun } from "./history-size.ts";
import { POSTERS, resultsOf } from "./job-scene.ts";
import { JOB_CONFIG, startJobServer, type JobServer } from "./job-server.ts";
import { openScene, type Scene } from "./scene.ts";
import config from "./job.config.ts";

const ITEMS = 100_000;
const BATCH = 50;
/** Every result of these posters is sent twice, the second time while the first is under way. */
const TWICE = 2;

/** Jobs from submit to verdict, with Temporal, a worker and a server, as they run in production. */
export async function measureLife(frame: Frame): Promise<void> {
  const scene = await openScene(frame, { config, path: JOB_CONFIG });
  const server = await startJobServer(frame, scene.databaseUrl);
  await scene.startWorker();
  await measureLarge(frame, scene, server);
  await measureFinalised(frame, scene, server);
  await measureLost(frame, scene, server);
  await frame.close();
}

async function measureLarge(frame: Frame, scene: Scene, server: JobServer): Promise<void> {
  const { db } = scene.holdfast;
  const items = frame.quick ? 5_000 : ITEMS;
  await countWrites(db);
  const startedAt = performance.now();
  const id = await submit(server, "large", items, { batchSize: BATCH });
  await Promise.all(
    Array.from({ length: POSTERS }, (_, no) => work(server, `worker-${no}`, id, no < TWICE)),
  );
  const view = await ended(server, id);
  const seconds = (performance.now() - startedAt) / 1_000;
  const { rows } = await db.query<{ n: number }>(
    "select count(*)::int as n from bench.writes where operation_id = $1",
    [id],
  );
  const { events } = await historyOfRun(scene.stack, "job", id);
  const of = `a job of ${items.toLocaleString("en")} items`;
  frame.measure(`${of}, submit to verdict`, seconds, "s");
  frame.measure(`${of}, writes of its row`, rows[0]!.n, "writes", {
    atMost: Math.floor(10 + seconds / 5),
  });
  frame.measure(`${of}, Temporal events`, events, "events");
  frame.measure(`${of}, Temporal events per 1,000 items`, (1_000 * events) / items, "events", {
    atMost: 50,
  });
  frame.measure("redeliveries", view.leases.redeliveries + view.leases.expiries, "batches", {
    exactly: 0,
  });
  frame.measure("repeated results, answered as such", view.leases.duplicates, "results");
  await measureDrift(frame, db, view);
}

/** What a job says of itself, beside its rows. */
async function measureDrift(frame: Frame, db: Db, view: JobView): Promise<void> {
  const { rows } = await db.query<Record<"settled" | "items" | "results" | "doubled", number>>(
    `select (select count(*)::int from holdfast.outcomes where operation_id = $1) as settled,
            count(*)::int as results, count(distinct item_no)::int as items,
            (coalesce(sum((counts ->> 'detections')::int), 0) - 2 * count(distinct item_no))::int
              as doubled
       from holdfast.job_results where operation_id = $1`,
    [view.id],
  );
  const { settled, items, results, doubled } = rows[0]!;
  const { succeeded = 0 } = view.counts;
  const said = sumOf(view, "detections");
  const drift =
    Math.abs(view.total - succeeded) +
    Math.abs(settled - succeeded) +
    Math.abs(said - 2 * view.total);
  frame.measure("count drift", drift, "items", { exactly: 0 });
  frame.measure("duplicate effects", results - items + Math.abs(doubled), "rows", { exactly: 0 });
}

function sumOf(view: JobView, key: string): number {
  const params = view.progress.stages.flatMap((stage) => stage.params);
  return Number(params.find((param) => param.key === key)?.value ?? 0);
}

/** From the moment a last result is committed to the one the job has its verdict. */
async function measureFinalised(frame: Frame, scene: Scene, server: JobServer): Promise<void> {
  const jobs = frame.quick ? 3 : 20;
  const waited: number[] = [];
  for (let no = 0; no < jobs; no++) {
    const pipeline = `final-${no}`;
    const id = await submit(server, pipeline, 100, { batchSize: BATCH });
    await work(server, "worker-0", id, false, pipeline);
    const view = await ended(server, id);
    const { rows } = await scene.holdfast.db.query<{ at: Date }>(
      "select max(settled_at) as at from holdfast.outcomes where operation_id = $1",
      [id],
    );
    waited.push((Date.parse(view.finishedAt!) - rows[0]!.at.getTime()) / 1_000);
  }
  const what = `last result to verdict, the longest of ${jobs}`;
  frame.measure(what, Math.max(...waited), "s", { atMost: 2 });
  frame.measure("last result to verdict, p50", percentile(waited, 50), "s");
}

const LEASE_SECONDS = 3;

/** A worker that takes a batch and is never heard of again, twice. */
async function measureLost(frame: Frame, { holdfast }: Scene, server: JobServer): Promise<void> {
  const options = { batchSize: 10, leaseSeconds: LEASE_SECONDS, deliveries: 2 };
  const id = await submit(server, "lost", 10, options);
  let handed = 0;
  let last = Date.now();
  // Each time it is handed out, nobody answers.
  const goesSilent = async () => {
    const { batches } = await claim(server, "lost", `silent-${handed}`);
    if (batches.length > 0) last = Date.now();
    handed += batches.length;
    const { rows } = await holdfast.db.query<{ n: number }>(
      "select count(*)::int as n from holdfast.outcomes where operation_id = $1 and outcome = 'lost'",
      [id],
    );
    return rows[0]!.n === 10;
  };
  await until(goesSilent, 180_000, () => "items were not lost", 50);
  const lostAfter = (Date.now() - last) / 1_000;
  const view = await ended(server, id);
  frame.measure(
    `lost items found, after their last hand-out, lease ${LEASE_SECONDS} s`,
    lostAfter,
    "s",
    {
      atMost: LEASE_SECONDS + 30,
    },
  );
  const verdict = (Date.parse(view.finishedAt!) - last) / 1_000;
  frame.measure("the same, to the verdict of the job", verdict, "s");
}

async function submit(
  server: JobServer,
  pipeline: string,
  items: number,
  options: Record<string, unknown>,
): Promise<string> {
  const all = Array.from({ length: items }, (_, n) => ({
    key: `capture-${n + 1}`,
    payload: { image: `s3://captures/${n + 1}.jpg`, night: n % 30 },
  }));
  const { id } = await server.call<{ id: string }>("/v1/jobs", { pipeline, options, items: all });
  return id;
}

function claim(server: JobServer, pipeline: string, worker: string): Promise<Claim> {
  return server.call<Claim>("/v1/jobs/claim", { pipelines: [pipeline], worker, waitSeconds: 1 });
}

/** Claims and posts until the job has no batch left. */
async function work(
  server: JobServer,
  worker: string,
  id: string,
  twice: boolean,
  pipeline = "large",
): Promise<void> {
  for (;;) {
    const { batches } = await claim(server, pipeline, worker);
    for (const batch of batches) await post(server, batch, twice);
    if (batches.length > 0) continue;
    const { batches: left, finishedAt } = await server.call<JobView>(`/v1/jobs/${id}`);
    if (finishedAt !== null || (left.ready === 0 && left.leased === 0 && left.done > 0)) return;
  }
}

async function post(server: JobServer, batch: ClaimedBatch, twice: boolean): Promise<void> {
  const request = resultsOf(batch);
  const send = () => server.call<PostAnswer>(`/v1/jobs/${batch.job}/results`, request);
  const answers = await Promise.all(twice ? [send(), send()] : [send()]);
  const accepted = answers.reduce((sum, answer) => sum + answer.accepted, 0);
  if (accepted !== batch.items.length) {
    throw new Error(`${accepted} of ${batch.items.length} results were accepted`);
  }
}

async function ended(server: JobServer, id: string): Promise<JobView> {
  for (;;) {
    const view = await server.call<JobView>(`/v1/jobs/${id}`);
    if (view.finishedAt !== null) return view;
    await sleep(50);
  }
}

/** Every write of a row of an operation leaves a row. */
async function countWrites(db: Db): Promise<void> {
  await db.query(
    `create schema bench;
     create table bench.writes (operation_id uuid not null);
     create function bench.count_write() returns trigger language plpgsql as $$
       begin insert into bench.writes values (new.id); return null; end $$;
     create trigger count_writes after update on holdfast.operations
       for each row execute function bench.count_write();`,
  );
}
