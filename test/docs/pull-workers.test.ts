import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test as always } from "vitest";
import { ClaimRequest, PostRequest, type JobResult } from "../../contracts/job.ts";
import { openDb, type Db } from "../../db/pool.ts";
import { until } from "../../dev/until.ts";
import { listening } from "../server/listening.ts";
import { aJob } from "../support/jobs.ts";
import { block } from "./pages.ts";
import { servedProduct } from "./product.ts";
import { hasPython, NO_PYTHON, pythonWorker } from "./python-worker.ts";

const test = always.extend<{ python: void }>({
  python: [
    async ({ task: _task, skip }, use) => {
      if (!hasPython) skip(NO_PYTHON);
      await use();
    },
    { auto: true },
  ],
});

const texts = (n: number) =>
  Array.from({ length: n }, (_, no) => ({ key: `text-${no + 1}`, payload: { text: `ünï ${no}` } }));

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

// Says where it is and never answers: what happens next is up to the test.
const hangsAt = (no: number) => `
import time, worker
of_the_page = worker.work
def work(item):
    if item["item"] == ${no}:
        print("at item ${no}", flush=True)
        time.sleep(3600)
    return of_the_page(item)
worker.work = work
worker.main()
`;

// Says that it begins an item, and takes a while for it.
const SLOW = `
import time, worker
of_the_page = worker.work
def work(item):
    print("begins", item["item"], flush=True)
    time.sleep(0.5)
    return of_the_page(item)
worker.work = work
worker.main()
`;

always("the examples of the page are what the server takes", () => {
  const HANDLE = "A".repeat(59);
  const post = block("pull-workers.md", "json post-request").replaceAll("<handle>", HANDLE);
  ClaimRequest.parse(JSON.parse(block("pull-workers.md", "json claim-request")));
  PostRequest.parse(JSON.parse(post));
});

test(
  "the worker of the page works a job to its end; every count is exact",
  { timeout: 120_000 },
  async () => {
    await using product = await servedProduct();
    const { holdfast, url, key } = product;
    const items = texts(100);
    const { id } = await holdfast.job.submit({
      pipeline: "hash",
      items,
      options: { batchSize: 7 },
    });
    const token = await key("service");
    const workers = await Promise.all(
      ["a", "b"].map((worker) => pythonWorker({ url, token, pipelines: "other,hash", worker })),
    );

    const done = await holdfast.job.wait(id);

    expect(done).toMatchObject({
      state: "completed",
      counts: { succeeded: 100 },
      batches: { ready: 0, leased: 0, done: 15 },
      leases: { deliveries: 15, redeliveries: 0, expiries: 0, duplicates: 0, late: 0 },
    });
    const results: JobResult[] = [];
    for await (const result of holdfast.job.eachResult(id)) results.push(result);
    expect(results.map(({ item, result }) => [item, result])).toEqual(
      items.map(({ payload }, no) => [no + 1, { sha256: sha256(payload.text) }]),
    );
    const characters = done.progress.stages.flatMap(({ params }) => params);
    expect(characters).toContainEqual(expect.objectContaining({ key: "characters", value: 590 }));
    expect(await Promise.all(workers.map((worker) => worker.end("SIGTERM")))).toEqual([0, 0]);
  },
);

test(
  "a worker killed in the middle of a batch costs nothing but a delivery",
  { timeout: 120_000 },
  async () => {
    await using product = await servedProduct();
    const { holdfast, url, key } = product;
    // Two deliveries are left, so the batch stays whole.
    const options = { batchSize: 5, heartbeatSeconds: 2, deliveries: 3 };
    const { id } = await holdfast.job.submit({ pipeline: "hash", items: texts(20), options });
    const token = await key("service");
    const first = await pythonWorker({ url, token, pipelines: "hash", around: hangsAt(8) });
    await first.saying("at item 8", 60_000);
    expect(await first.end("SIGKILL")).toBe("SIGKILL");
    expect((await holdfast.job.get(id)).counts).toEqual({ succeeded: 5 });

    await pythonWorker({ url, token, pipelines: "hash" });
    const done = await holdfast.job.wait(id);

    expect(done).toMatchObject({ state: "completed", counts: { succeeded: 20 } });
    const { redeliveries, expiries, duplicates, late } = done.leases;
    expect(expiries).toBeGreaterThan(0);
    expect(redeliveries).toBe(expiries);
    expect({ duplicates, late }).toEqual({ duplicates: 0, late: 0 });
    const items: number[] = [];
    for await (const { item } of holdfast.job.eachResult(id)) items.push(item);
    expect(items).toEqual(Array.from({ length: 20 }, (_, no) => no + 1));
  },
);

test("at SIGTERM what is done is posted, and what is not begun is released", async () => {
  await using server = await listening();
  const db = opened(server.databaseUrl);
  const id = await aJob(db, { items: 20, batchSize: 10 });
  await theirTexts(db, id);
  const at = { url: server.url, token: await server.key("service"), pipelines: "p", around: SLOW };
  const worker = await pythonWorker(at);
  await worker.saying("begins 3");

  expect(await worker.end("SIGTERM")).toBe(0);

  // The item in hand was worked to its end.
  expect(await settled(db, id)).toEqual([1, 2, 3]);
  const { rows } = await db.query(
    "select no, state, delivery from holdfast.job_batches where operation_id = $1 order by no",
    [id],
  );
  expect(rows).toEqual([
    { no: 1, state: "ready", delivery: 0 },
    { no: 2, state: "ready", delivery: 0 },
  ]);
});

test("a worker that is slow keeps its lease", async () => {
  await using server = await listening();
  const db = opened(server.databaseUrl);
  const id = await aJob(db, { items: 6, batchSize: 6, leaseSeconds: 2, heartbeatSeconds: 2 });
  await theirTexts(db, id);
  const at = { url: server.url, token: await server.key("service"), pipelines: "p", around: SLOW };
  const worker = await pythonWorker(at);
  // Three seconds in one batch whose lease is two.
  await worker.saying("begins 6");
  const { rows } = await db.query<{ held: boolean }>(
    `select leased_until > clock_timestamp() and beat_until > clock_timestamp() as held
       from holdfast.job_batches where operation_id = $1`,
    [id],
  );
  expect(rows).toEqual([{ held: true }]);
  await until(
    async () => (await settled(db, id)).length === 6,
    10_000,
    () => "not all settled",
  );
});

test("what an item raises is its own error", async () => {
  await using server = await listening();
  const db = opened(server.databaseUrl);
  const id = await aJob(db, { items: 3, batchSize: 3 });
  await theirTexts(db, id, "and item_no <> 2");
  const at = { url: server.url, token: await server.key("service"), pipelines: "p" };
  await pythonWorker(at);
  await until(
    async () => (await settled(db, id)).length === 3,
    10_000,
    () => "not all settled",
  );
  const { rows } = await db.query(
    "select item_no as item, outcome, reason from holdfast.outcomes where operation_id = $1 order by 1",
    [id],
  );
  expect(rows).toEqual([
    { item: 1, outcome: "succeeded", reason: null },
    { item: 2, outcome: "failed", reason: "KeyError('text')" },
    { item: 3, outcome: "succeeded", reason: null },
  ]);
});

test("a post whose answer is lost is made again, and counts once", async () => {
  await using server = await listening();
  const db = opened(server.databaseUrl);
  const id = await aJob(db, { items: 4, batchSize: 4 });
  await theirTexts(db, id);
  const bodies: string[] = [];
  const url = await between(server.url, (path, body) => {
    if (!path.endsWith("/results")) return "pass";
    bodies.push(body);
    // Away, then heard and not answered, then well.
    return bodies.length === 1 ? "unavailable" : bodies.length === 2 ? "answer lost" : "pass";
  });
  const worker = await pythonWorker({ url, token: await server.key("service"), pipelines: "p" });
  await until(
    () => bodies.length >= 3,
    20_000,
    () => `posted ${bodies.length} times`,
  );
  expect(await worker.end("SIGTERM")).toBe(0);

  expect(new Set(bodies).size).toBe(1);
  expect(await settled(db, id)).toEqual([1, 2, 3, 4]);
  const { rows } = await db.query(
    "select outcome, sum(n)::int as n from holdfast.progress_deltas where operation_id = $1 group by 1",
    [id],
  );
  expect(Object.fromEntries(rows.map(({ outcome, n }) => [outcome, n]))).toMatchObject({
    succeeded: 4,
  });
  expect(rows.map(({ outcome }) => outcome)).not.toContain("duplicates");
});

// Answers of each item something else: what is taken, what is too large, what is no JSON, and errors.
const ODD = `
import worker
def work(item):
    return {1: {"result": 1}, 2: {"result": "x" * 20_000}, 3: {"result": float("nan")},
            4: {"result": "\\ud800"}, 5: {"error": "\\ud800"}, 6: {"result": 6}}[item["item"]]
worker.work = work
worker.main()
`;

test("a result that is not taken is its item's error, the others count, and the worker goes on", async () => {
  await using server = await listening();
  const db = opened(server.databaseUrl);
  const id = await aJob(db, { items: 6, batchSize: 6 });
  const at = { url: server.url, token: await server.key("service"), pipelines: "p", around: ODD };
  const worker = await pythonWorker(at);
  await until(
    async () => (await settled(db, id)).length === 6,
    20_000,
    () => `not all settled: ${worker.said()}`,
  );
  const { rows } = await db.query<{ outcome: string; reason: string | null }>(
    "select outcome, reason from holdfast.outcomes where operation_id = $1 order by item_no",
    [id],
  );
  const untold = {
    outcome: "failed",
    reason: expect.stringContaining("its worker's log says why"),
  };
  expect(rows).toEqual([
    { outcome: "succeeded", reason: null },
    untold,
    { outcome: "failed", reason: expect.stringContaining("ValueError") },
    untold,
    untold,
    { outcome: "succeeded", reason: null },
  ]);
  expect(await worker.end("SIGTERM")).toBe(0);
});

test("results of a job that is gone are dropped, and the worker goes on", async () => {
  await using server = await listening();
  const db = opened(server.databaseUrl);
  const id = await aJob(db, { items: 4, batchSize: 2 });
  await theirTexts(db, id);
  let posts = 0;
  const url = await between(server.url, (path) => {
    if (!path.endsWith("/results")) return "pass";
    return posts++ === 0 ? "gone" : "pass";
  });
  const worker = await pythonWorker({ url, token: await server.key("service"), pipelines: "p" });
  await until(
    async () => (await settled(db, id)).length === 2,
    20_000,
    () => `posted ${posts} times: ${worker.said()}`,
  );
  expect(await worker.end("SIGTERM")).toBe(0);
  expect(posts).toBe(2);
});

test("a token that is refused ends it with the reason, and is not printed", async () => {
  await using server = await listening();
  const token = "hf_nobody_has_this_one";
  const worker = await pythonWorker({ url: server.url, token, pipelines: "p" });
  expect(await worker.ended).toBe(1);
  expect(worker.said()).toContain("/claim: 401");
  expect(worker.said()).not.toContain(token);
});

test("the token does not follow a redirect to another host", async () => {
  const heard: (string | undefined)[] = [];
  const other = await httpServer((request, response) => {
    heard.push(request.headers.authorization);
    response.end("{}");
  });
  const url = await httpServer((_request, response) => {
    response.writeHead(302, { location: other }).end();
  });
  const worker = await pythonWorker({ url, token: "hf_secret", pipelines: "p" });
  expect(await worker.ended).toBe(1);
  expect(worker.said()).toContain("302");
  expect(heard).toEqual([]);
});

function opened(url: string): Db {
  const db = openDb({ url, size: 2 });
  onTestFinished(() => db.close());
  return db;
}

/** Payloads as the page's worker wants them, for all items or some. */
async function theirTexts(db: Db, id: string, some = ""): Promise<void> {
  await db.query(
    `update holdfast.payloads set content = '{"text":"a"}' where operation_id = $1 ${some}`,
    [id],
  );
}

async function settled(db: Db, id: string): Promise<number[]> {
  const { rows } = await db.query<{ item_no: number }>(
    "select item_no from holdfast.outcomes where operation_id = $1 order by item_no",
    [id],
  );
  return rows.map((row) => row.item_no);
}

type Fate = "pass" | "unavailable" | "answer lost" | "gone";

/** A server between a worker and ours, which decides what becomes of each request. */
function between(url: string, fate: (path: string, body: string) => Fate): Promise<string> {
  return httpServer(async (request, response) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk as Uint8Array);
    const body = Buffer.concat(chunks);
    const fated = fate(request.url!, body.toString());
    if (fated === "unavailable") {
      response.writeHead(503, { "retry-after": "0" }).end("away");
      return;
    }
    if (fated === "gone") {
      response.writeHead(404).end("no such job");
      return;
    }
    const { authorization = "" } = request.headers;
    const answer = await fetch(url + request.url, {
      method: request.method!,
      headers: { authorization, "content-type": "application/json" },
      body,
    });
    const text = await answer.text();
    if (fated === "answer lost") response.destroy();
    else response.writeHead(answer.status, { "content-type": "application/json" }).end(text);
  });
}

type Handler = Parameters<typeof createServer>[1] & {};

async function httpServer(handle: Handler): Promise<string> {
  const server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
