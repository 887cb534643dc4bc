import { expect, test, vi } from "vitest";
import type { Claim, PullWorkerView } from "../../client/index.ts";
import { expireLeases } from "../../db/job-leases.ts";
import type { Db } from "../../db/pool.ts";
import { PIPELINES_SHOWN } from "../../server/job-metrics.ts";
import { aJob, passLease } from "../support/jobs.ts";
import { problemOf, serving, type Serving } from "./serving.ts";

async function claim(
  { ask }: Serving,
  key: string,
  worker: string,
  pipelines: string[],
): Promise<Claim> {
  const json = { worker, pipelines };
  return (await (await ask("POST", "/v1/jobs/claim", { key, json })).json()) as Claim;
}

async function workers({ ask }: Serving, key: string, query = ""): Promise<PullWorkerView[]> {
  const answer = await ask("GET", `/v1/jobs/workers${query}`, { key });
  expect(answer.status).toBe(200);
  return ((await answer.json()) as { items: PullWorkerView[] }).items;
}

/** Every worker was seen last so long ago. */
const seenAgo = (db: Db, seconds: number) =>
  db.query("update holdfast.job_workers set seen_at = now() - $1 * interval '1 second'", [seconds]);

test("the depth of a pipeline is numbers for an autoscaler, and zeros where nothing waits", async () => {
  await using server = await serving();
  const { db } = server.holdfast;
  const viewer = await server.key("viewer");
  await aJob(db, { items: 25, batchSize: 10, pipeline: "images/cut" });
  await aJob(db, { items: 5, batchSize: 10, pipeline: "images/cut", tenant: "b" });
  await aJob(db, { items: 5, pipeline: "another" });
  await claim(server, await server.key("service"), "w", ["images/cut"]);
  await db.query("update holdfast.job_batches set ready_at = now() - interval '90 seconds'");
  const depth = async (name: string, key = viewer) => {
    const answer = await server.ask("GET", `/v1/pipelines/${encodeURIComponent(name)}/depth`, {
      key,
    });
    expect(answer.status).toBe(200);
    return (await answer.json()) as Record<string, number>;
  };
  await vi.waitFor(async () => expect((await workers(server, viewer)).length).toBe(1));
  const { oldestSeconds, ...counts } = await depth("images/cut");
  expect(counts).toEqual({ ready: 3, jobs: 2, workersOnline: 1 });
  expect(oldestSeconds).toBeGreaterThanOrEqual(90);
  expect(oldestSeconds).toBeLessThan(120);
  const zeros = { ready: 0, jobs: 0, oldestSeconds: 0, workersOnline: 0 };
  expect(await depth("nobody")).toEqual(zeros);
  expect(await depth("another", await server.key("viewer", ["b"]))).toMatchObject({
    ready: 0,
    jobs: 0,
  });
  const odd = await server.ask("GET", "/v1/pipelines/no%20good/depth", { key: viewer });
  expect((await problemOf(odd)).detail).toContain("pipeline");

  const all = await server.ask("GET", "/v1/pipelines", { key: viewer });
  const { items } = (await all.json()) as { items: { pipeline: string; tenant: string }[] };
  expect(items.map(({ pipeline, tenant }) => `${pipeline} ${tenant}`)).toEqual([
    "another default",
    "images/cut b",
    "images/cut default",
  ]);
});

test("whoever claims, extends or posts is seen, by key and worker, and makes nobody else seen", async () => {
  await using server = await serving();
  const { db } = server.holdfast;
  const [one, two] = [await server.key("service"), await server.key("service")];
  const viewer = await server.key("viewer");
  const id = await aJob(db, { items: 2 });
  await claim(server, one, "a", ["q", "p"]);
  await claim(server, two, "a", ["p"]);
  await claim(server, two, "b", ["q"]);
  await vi.waitFor(async () => expect(await workers(server, viewer)).toHaveLength(3));
  expect(await workers(server, viewer, "?pipeline=q")).toHaveLength(2);
  const known = await workers(server, viewer);
  expect(known.every(({ online }) => online)).toBe(true);
  const holder = known.find(({ held }) => held === 1)!;
  expect(holder.worker).toBe("a");
  expect(holder.pipelines).toEqual(["p", "q"]);

  const before = (await db.query("select key, worker, seen_at from holdfast.job_workers")).rows;
  // Within half a minute nothing is written again, in whatever order pipelines are named.
  for (let time = 0; time < 5; time++) await claim(server, one, "a", ["p", "q"]);
  await server.ask("POST", `/v1/jobs/${id}/results`, {
    key: one,
    json: { results: [{ handle: "x".repeat(59), error: "e" }] },
  });
  await vi.waitFor(async () =>
    expect((await db.query("select key, worker, seen_at from holdfast.job_workers")).rows).toEqual(
      before,
    ),
  );
});

test("a worker is online for a minute after it was last seen, judged when it is asked", async () => {
  await using server = await serving();
  const { db } = server.holdfast;
  const viewer = await server.key("viewer");
  await claim(server, await server.key("service"), "w", ["p"]);
  await vi.waitFor(async () => expect(await workers(server, viewer)).toHaveLength(1));
  const online = async () => (await workers(server, viewer))[0]!.online;
  await seenAgo(db, 55);
  expect(await online()).toBe(true);
  await seenAgo(db, 61);
  expect(await online()).toBe(false);
});

test("looking on makes nobody seen, and a list of workers of other tenants shows none", async () => {
  await using server = await serving();
  const { db } = server.holdfast;
  const viewer = await server.key("viewer");
  const id = await aJob(db, { items: 1 });
  for (const path of ["", `/${id}`, "/workers", `/${id}/results`]) {
    expect((await server.ask("GET", `/v1/jobs${path}`, { key: viewer })).status).toBe(200);
  }
  await claim(server, await server.key("service", ["a"]), "w", ["p"]);
  await vi.waitFor(async () => expect(await workers(server, viewer)).toHaveLength(1));
  expect(await workers(server, await server.key("viewer", ["b"]))).toEqual([]);
});

test("a worker that cannot be noted claims and posts all the same", async () => {
  await using server = await serving();
  const { db } = server.holdfast;
  const key = await server.key("service");
  const id = await aJob(db, { items: 1 });
  await db.query("alter table holdfast.job_workers rename to elsewhere");
  await db.query("alter table holdfast.logs rename to logs_elsewhere");
  const { batches } = await claim(server, key, "w", ["p"]);
  const results = [{ handle: batches[0]!.handle, item: 1, result: 1 }];
  const posted = await server.ask("POST", `/v1/jobs/${id}/results`, { key, json: { results } });
  expect(await posted.json()).toMatchObject({ accepted: 1 });
  await vi.waitFor(async () => {
    const text = await (await server.ask("GET", "/metrics")).text();
    expect(text).toMatch(/^holdfast_job_log_writes_failed_total [1-9]/m);
    expect(text).toMatch(/^holdfast_job_seen_writes_failed_total [1-9]/m);
  });
});

test("metrics tell of each pipeline what waits, what is held, and what came of it", async () => {
  await using server = await serving();
  const { db } = server.holdfast;
  const key = await server.key("service");
  const id = await aJob(db, { items: 30, batchSize: 10, deliveries: 3, tenant: "planted" });
  const { batches } = await claim(server, key, "w", ["p"]);
  const { handle } = batches[0]!;
  const results = [1, 1, 2].map((item) => ({ handle, item, result: item }));
  await server.ask("POST", `/v1/jobs/${id}/results`, { key, json: { results } });
  await passLease(db);
  await db.transaction((tx) => expireLeases(tx));
  const again = await claim(server, key, "v", ["p"]);
  expect(again.batches[0]!.delivery).toBe(2);
  await db.query(
    "update holdfast.job_batches set ready_at = now() - interval '100 seconds' where state = 'ready'",
  );
  await vi.waitFor(async () => expect(await workers(server, key)).toHaveLength(2));

  const text = await (await server.ask("GET", "/metrics")).text();
  const lines = text.split("\n");
  const value = (name: string) =>
    Number(
      lines
        .find((line) => line.startsWith(`holdfast_job_${name} `))
        ?.split(" ")
        .at(-1),
    );
  expect(value('batches_ready{pipeline="p"}')).toBe(2);
  expect(value('batches_oldest_seconds{pipeline="p"}')).toBeGreaterThan(99);
  expect(value('leases_held{pipeline="p"}')).toBe(1);
  expect(value('leases_expired{pipeline="p"}')).toBe(1);
  expect(value('results{pipeline="p",status="accepted"}')).toBe(2);
  expect(value('results{pipeline="p",status="duplicate"}')).toBe(1);
  expect(value('results{pipeline="p",status="late"}')).toBe(0);
  expect(value('pull_workers_online{pipeline="p"}')).toBe(2);
  expect(value('deliveries_total{pipeline="p",again="no"}')).toBe(1);
  expect(value('deliveries_total{pipeline="p",again="yes"}')).toBe(1);
  expect(text).not.toContain("planted");
});

test("however many pipelines there are, metrics show a bounded number and lose no batch", async () => {
  await using server = await serving();
  const { db } = server.holdfast;
  const many = PIPELINES_SHOWN + 20;
  for (let n = 0; n < many; n++) await aJob(db, { items: 1, pipeline: `p-${n}` });
  const text = await (await server.ask("GET", "/metrics")).text();
  const ready = text
    .split("\n")
    .filter((line) => line.startsWith("holdfast_job_batches_ready{"))
    .map((line) => Number(line.split(" ").at(-1)));
  expect(ready).toHaveLength(PIPELINES_SHOWN + 1);
  expect(ready.reduce((sum, n) => sum + n, 0)).toBe(many);
  expect(text).toContain('holdfast_job_batches_ready{pipeline="other"} 20');
});

test("pipelines that workers name and no job has are not in the metrics", async () => {
  await using server = await serving();
  const { db } = server.holdfast;
  const key = await server.key("service");
  await aJob(db, { items: 1 });
  await claim(server, key, "w", ["p", "made-up"]);
  await vi.waitFor(async () => expect(await workers(server, key)).toHaveLength(1));
  const text = await (await server.ask("GET", "/metrics")).text();
  expect(text).toContain('holdfast_job_pull_workers_online{pipeline="p"} 1');
  expect(text).not.toContain("made-up");
});
