import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { connect, type Holdfast } from "../client/index.ts";
import { DOCTOR_SCHEDULE } from "../activities/namespace-owner.ts";
import type { Client } from "@temporalio/client";
import { InventorySettingsPatch } from "../contracts/inventory-settings.ts";
import type { JobSubmit } from "../contracts/job.ts";
import { drainWorkflowId, rangeWorkflowId } from "../contracts/ids.ts";
import { ingest } from "../db/inbox.ts";
import { registryOf, setSettings } from "../db/inventory-settings.ts";
import { migrate } from "../db/migrate.ts";
import { install, makeTables, SEARCHED } from "../test/support/searched-sites.ts";
import { letters } from "../test/support/letters.ts";
import { runDoctor } from "../workers/doctor.ts";
import { recordHistory } from "../workers/history-files.ts";
import { lazyClient } from "../workers/temporal-client.ts";
import { spawnWorker } from "./spawn-worker.ts";
import { startStack, type Stack } from "./stack.ts";
import practising from "../test/system/fixtures/recorded.config.ts";
import { until } from "./until.ts";

/**
 * Records the histories that test/replay replays, one per way a workflow can go:
 * `node --import tsx dev/record-histories.ts [name ...]`. Run it when workflows are changed on purpose,
 * beside the old ones if those are still to be understood.
 */
const ROOT = fileURLToPath(new URL("../", import.meta.url));
const FOLDER = fileURLToPath(new URL("../test/replay/histories/", import.meta.url));
const CONFIG = fileURLToPath(
  new URL("../test/system/fixtures/recorded.config.ts", import.meta.url),
);

interface Scene {
  holdfast: Holdfast;
  temporal: Client;
  stack: Stack;
}
/** Answers the workflow to record: its id, and the run where it had more than one. */
type Scenario = (scene: Scene) => Promise<{ workflowId: string; runId?: string }>;

/** Above what one activity does in one go. */
const RANGED = 600;

const scenarios: Record<string, Scenario> = {
  "small-completed": (scene) => ended(scene, letters(5)),
  "small-failed": (scene) => ended(scene, letters(3, "[[oversized]]")),
  "small-deferred": (scene) => ended(scene, letters(3, "[[defer 2500]]")),
  "small-cancelled": (scene) => ended(scene, letters(40, "[[sleep 2000]]"), cancelled),
  "small-paused-and-resumed": (scene) => ended(scene, letters(40, "[[sleep 600]]"), paused),
  "ranged-completed": (scene) => ended(scene, letters(RANGED)),
  "ranged-deferred": (scene) =>
    ended(scene, [...letters(RANGED), ...letters(2, "[[defer 4000]]", "late")]),
  "ranged-cancelled": (scene) => ended(scene, letters(RANGED, "[[sleep 200]]"), cancelled),
  "ranged-failed": (scene) =>
    ended(scene, [...letters(RANGED), ...letters(1, "[[oversized]]", "oversized")]),
  "ranged-adopted": (scene) => ended(scene, letters(RANGED, "[[sleep 200]]"), terminated),
  "range-of-a-batch": async (scene) => {
    const { workflowId } = await ended(scene, letters(RANGED));
    return { workflowId: rangeWorkflowId(workflowId, 1) };
  },
  "drain-consolidate": async (scene) => {
    await ended(scene, letters(5));
    await until(
      async () => (await scene.holdfast.db.query("select 1 from holdfast.marks")).rows.length === 0,
      60_000,
      () => "there are marks",
    );
    return closed(scene, drainWorkflowId("consolidate", 0));
  },
  "drain-index": async (scene) => {
    const { db } = scene.holdfast;
    await db.query(
      "insert into holdfast.index_marks (lane, schema_name, type, keys) values (0, 'gone', 'site', '{1}')",
    );
    await until(
      async () =>
        (await db.query("select 1 from holdfast.index_marks where lane = 0")).rows.length === 0,
      60_000,
      () => "there are marks of the index",
    );
    return closed(scene, drainWorkflowId("index", 0));
  },
  "drain-reconcile": async (scene) => {
    await takeTags(scene, "default");
    return closed(scene, drainWorkflowId("reconcile", 0));
  },
  "drain-target": async (scene) => {
    const patch = InventorySettingsPatch.parse({ target: "practice", defaultBranch: "main" });
    await scene.holdfast.db.transaction((tx) =>
      setSettings(tx, practising, "practising", patch, "recorder"),
    );
    await takeTags(scene, "practising");
    return closed(scene, drainWorkflowId("target-practice", 0));
  },
  "reindex-completed": (scene) => reindexed(scene),
  "reindex-cancelled": (scene) => reindexed(scene, cancelled),
  "reindex-paused-and-resumed": (scene) => reindexed(scene, paused),
  "job-pulled": (scene) => pulled(scene),
  "job-pulled-with-errors": (scene) => pulled(scene, { errors: true }),
  "job-cancelled": (scene) => pulled(scene, { meddle: cancelled }),
  "job-paused-and-resumed": (scene) =>
    pulled(scene, {
      meddle: async ({ holdfast }, id) => {
        await holdfast.operation.pause(id);
        await holdfast.operation.resume(id);
      },
    }),
  "job-empty": (scene) => workedByItself(scene, { items: [] }),
  "job-processed": (scene) =>
    workedByItself(scene, { items: told(20, { sleepMs: 20 }), options: { batchSize: 2 } }),
  "job-collected": (scene) =>
    workedByItself(scene, { collector: "numbers", collect: { items: 25, page: 10 } }),
  "job-collector-refused": (scene) =>
    workedByItself(scene, { collector: "numbers", collect: { items: 25, refuse: "none there" } }),
  "plan-approved": (scene) => planned(scene, {}, (id) => scene.holdfast.plan.approve(id)),
  "plan-rejected": (scene) => planned(scene, {}, (id) => scene.holdfast.plan.reject(id)),
  "plan-in-parts": (scene) =>
    planned(scene, { entities: RANGED }, async (id) => {
      const { items } = await scene.holdfast.plan.changes(id, { limit: 10 });
      await scene.holdfast.plan.approve(id, { entities: items.map((one) => one.id) });
      await until(
        async () => (await scene.holdfast.plan.get(id)).counts.applied === items.length,
        60_000,
        () => `${id} applies nothing`,
      );
      await scene.holdfast.plan.approve(id);
    }),
  "plan-expired": (scene) => planned(scene, { expiresInSeconds: 4 }),
  "plan-cancelled": (scene) => planned(scene, {}, (id) => cancelled(scene, id)),
  "review-small": (scene) => reviewed(scene, 20),
  "review-ranged": (scene) => reviewed(scene, RANGED),
  "doctor-examination": async (scene) => {
    await scene.temporal.schedule.getHandle(DOCTOR_SCHEDULE).trigger();
    const query = `WorkflowType = "examineNow" and ExecutionStatus = "Completed"`;
    let found: string | undefined;
    await until(
      async () => {
        for await (const one of scene.temporal.workflow.list({ query })) found = one.workflowId;
        return found;
      },
      60_000,
      () => "there is no examination",
      200,
    );
    return { workflowId: found! };
  },
};

/** Takes some entities in, and waits until somebody has planned them. */
async function takeTags({ holdfast: { db } }: Scene, tenant: string): Promise<void> {
  const entities = Array.from({ length: 20 }, (_, no) => ({
    type: "tag",
    fields: { name: `tag ${no}` },
    warnings: [],
  }));
  const given = { tenant, branch: "main", source: "recorder", entities };
  await db.transaction((tx) => ingest(tx, registryOf({}, "network"), given));
  await until(
    async () =>
      (await db.query("select 1 from holdfast.entities where state in (1, 8, 10) limit 1")).rows
        .length === 0,
    60_000,
    () => "there are entities that nobody has planned",
  );
}

async function ended(
  scene: Scene,
  items: ReturnType<typeof letters>,
  meddle?: (scene: Scene, id: string, workflowId: string) => Promise<void>,
): Promise<{ workflowId: string }> {
  const { holdfast } = scene;
  const bank = `bank-${performance.now()}`;
  const { id } = await holdfast.retain.submit({ bank, items });
  const { workflowId } = await holdfast.operation.get(id);
  if (meddle) {
    await until(
      async () =>
        (await holdfast.db.query("select 1 from holdfast.flights where operation_id = $1", [id]))
          .rows.length > 0,
      60_000,
      () => `${id} is not at work`,
    );
    await meddle(scene, id, workflowId);
  }
  await holdfast.operation.wait(id);
  return closed(scene, workflowId);
}

/** Above what one page of a reindex holds, many times. */
const SITES = 40_000;

async function reindexed(
  scene: Scene,
  meddle?: (scene: Scene, id: string, workflowId: string) => Promise<void>,
): Promise<{ workflowId: string }> {
  const { holdfast } = scene;
  await holdfast.db.query("drop schema if exists crm cascade");
  await holdfast.db.query("delete from holdfast.search_indexes");
  await makeTables(holdfast.db, "crm", meddle ? SITES : 100);
  await install(holdfast.db, "crm", SEARCHED);
  const { id } = await holdfast.search.reindex({ types: ["site"] });
  const { workflowId } = await holdfast.operation.get(id);
  if (meddle) {
    const begun = "select 1 from holdfast.search_indexes where building_objects > 0";
    await until(
      async () => (await holdfast.db.query(begun)).rows.length > 0,
      60_000,
      () => `${id} is not at work`,
    );
    await meddle(scene, id, workflowId);
  }
  await holdfast.operation.wait(id);
  return closed(scene, workflowId);
}

function told(items: number, orders: object) {
  return Array.from({ length: items }, () => ({ payload: { ...orders } }));
}

/** A job that the worker's own plug-ins work. */
async function workedByItself(
  scene: Scene,
  job: Pick<JobSubmit, "items" | "collector" | "collect" | "options">,
): Promise<{ workflowId: string }> {
  const { holdfast } = scene;
  const { id } = await holdfast.job.submit({ pipeline: "obey", ...job });
  await holdfast.operation.wait(id);
  return closed(scene, (await holdfast.operation.get(id)).workflowId);
}

/** A job that this process works: half of it, then `meddle`, then the rest. */
async function pulled(
  scene: Scene,
  how: { errors?: boolean; meddle?: (scene: Scene, id: string) => Promise<void> } = {},
): Promise<{ workflowId: string }> {
  const { holdfast } = scene;
  const pipeline = `pull-${Math.round(performance.now())}`;
  const job = { pipeline, items: told(20, {}), options: { batchSize: 10 } };
  const { id } = await holdfast.job.submit(job);
  const { workflowId } = await holdfast.operation.get(id);
  const asked = { pipelines: [pipeline], worker: "recorder", waitSeconds: 30 };
  const work = async () => {
    const { batches } = await holdfast.job.claim(asked);
    const results = batches.flatMap(({ handle, items }) =>
      items.map(({ item }) =>
        how.errors && item % 10 === 0
          ? { handle, item, error: "as told" }
          : { handle, item, result: item },
      ),
    );
    if (results.length > 0) await holdfast.job.post(id, { results });
  };
  await work();
  await how.meddle?.(scene, id);
  if (how.meddle !== cancelled) await work();
  await holdfast.operation.wait(id);
  return closed(scene, workflowId);
}

/** A plan of sites; `decide` is done once it waits. */
async function planned(
  { holdfast, ...scene }: Scene,
  { entities = 5, expiresInSeconds }: { entities?: number; expiresInSeconds?: number },
  decide?: (id: string) => Promise<unknown>,
): Promise<{ workflowId: string }> {
  const name = `site ${performance.now()}`;
  const { id } = await holdfast.plan.submit(
    sites(name, entities),
    expiresInSeconds === undefined ? {} : { expiresInSeconds },
  );
  await holdfast.plan.planned(id);
  await decide?.(id);
  await holdfast.plan.wait(id);
  return closed({ holdfast, ...scene }, (await holdfast.operation.get(id)).workflowId);
}

function sites(name: string, n: number) {
  return Array.from({ length: n }, (_, no) => ({
    object_type: "site",
    entity: { name: `${name} ${no}` },
  }));
}

/** A review of what a plan that waits would do. */
async function reviewed(scene: Scene, entities: number): Promise<{ workflowId: string }> {
  const { holdfast } = scene;
  const { id } = await holdfast.plan.submit(sites(`reviewed ${performance.now()}`, entities));
  await holdfast.plan.planned(id);
  const review = await holdfast.review.submit({ act: "reject", filter: { operation: id } });
  await holdfast.operation.wait(review.id);
  await holdfast.plan.wait(id);
  return closed(scene, (await holdfast.operation.get(review.id)).workflowId);
}

async function closed({ temporal }: Scene, workflowId: string): Promise<{ workflowId: string }> {
  const handle = temporal.workflow.getHandle(workflowId);
  await until(
    async () => (await handle.describe()).status.name !== "RUNNING",
    180_000,
    () => `${workflowId} does not close`,
    200,
  );
  return { workflowId };
}

async function cancelled({ holdfast }: Scene, id: string): Promise<void> {
  await holdfast.operation.cancel(id);
}

async function paused({ holdfast, temporal }: Scene, id: string, workflowId: string) {
  await holdfast.operation.pause(id);
  const handle = temporal.workflow.getHandle(workflowId);
  // Resting shows as a timer: the fold of pages has come back.
  await until(
    async () =>
      (await handle.fetchHistory()).events!.some((event) => event.timerStartedEventAttributes),
    60_000,
    () => `${workflowId} does not rest`,
    200,
  );
  await holdfast.operation.resume(id);
}

async function terminated({ temporal, stack }: Scene, _id: string, workflowId: string) {
  await temporal.workflow.getHandle(workflowId).terminate("by an operator");
  const { databaseUrl, temporalAddress: address, namespace } = stack;
  await runDoctor({ databaseUrl, temporal: { address, namespace }, repair: true });
}

async function main(names: readonly string[]): Promise<void> {
  const stack = await startStack({ durability: "fast", environment: {} });
  const { databaseUrl, temporalAddress, namespace } = stack;
  await migrate(databaseUrl);
  const state = join(stack.dir, "obedient");
  await mkdir(state);
  const environment = { ...process.env, OBEDIENT_STATE: state };
  const worker = await spawnWorker({ ...stack, config: CONFIG, environment });
  await worker.ready;
  const holdfast = connect({ databaseUrl, config: SEARCHED });
  const { client: temporal, close } = lazyClient({ address: temporalAddress, namespace });
  try {
    for (const name of names) {
      const scenario = scenarios[name];
      if (!scenario) throw new Error(`no scenario "${name}": ${Object.keys(scenarios).join(", ")}`);
      const workflow = await scenario({ holdfast, temporal, stack });
      const file = join(FOLDER, `${name}.json`);
      await rm(file, { force: true });
      await recordHistory(temporal, workflow, file);
      await withoutMachine(file);
      process.stdout.write(`${name}: ${workflow.workflowId}\n`);
    }
  } finally {
    await worker.send("SIGTERM");
    await Promise.all([holdfast.close(), close()]);
    await stack.stop();
  }
}

/** What the file says of the machine it was recorded on is nobody's business, and differs each time. */
async function withoutMachine(file: string): Promise<void> {
  const text = await readFile(file, "utf8");
  await writeFile(file, text.replaceAll(ROOT, "/").replaceAll(`@${hostname()}`, "@recorder"));
}

const named = process.argv.slice(2);
await main(named.length > 0 ? named : Object.keys(scenarios));
process.exit(0);
