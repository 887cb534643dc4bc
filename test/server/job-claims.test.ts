import { once } from "node:events";
import { connect as dial } from "node:net";
import { expect, test, vi } from "vitest";
import type { Claim, PostAnswer } from "../../client/index.ts";
import { claimPollerOf } from "../../client/claim-poller.ts";
import type { Db } from "../../db/pool.ts";
import { aJob } from "../support/jobs.ts";
import { listening } from "./listening.ts";
import { problemOf, serving, type Serving } from "./serving.ts";

// No server here has a Temporal: whatever claims, extends, gives back and posts goes on without one.

const asked = { pipelines: ["p"], worker: "w" };

async function claim(server: Serving, key: string, more: object = {}): Promise<Claim> {
  const answer = await server.ask("POST", "/v1/jobs/claim", { key, json: { ...asked, ...more } });
  expect(answer.status).toBe(200);
  return (await answer.json()) as Claim;
}

const batches = async (db: Db) =>
  (
    await db.query<{ state: string; lease: number; delivery: number }>(
      "select state, lease, delivery from holdfast.job_batches order by operation_id, no",
    )
  ).rows;

test("with three open jobs a claim answers one batch and that three wait, and ten give three", async () => {
  await using server = await serving({ config: { jobs: { heldBatches: 10 } } });
  const key = await server.key("service");
  for (let n = 0; n < 3; n++) await aJob(server.holdfast.db, { items: 5 });
  const one = await claim(server, key);
  expect(one.waiting).toBe(3);
  expect(one.batches).toHaveLength(1);
  expect(one.batches[0]!.items.map(({ payload }) => payload)).toEqual(
    [1, 2, 3, 4, 5].map((n) => ({ n })),
  );
  const { handle } = one.batches[0]!;
  const json = { handles: [handle] };
  const released = await server.ask("POST", "/v1/jobs/release", { key, json });
  expect(await released.json()).toEqual({ leases: [{ handle, status: "released" }] });
  const all = await claim(server, key, { limit: 10 });
  expect(all.batches).toHaveLength(3);
  expect(new Set(all.batches.map(({ job }) => job)).size).toBe(3);
  expect(all.batches.map(({ delivery }) => delivery)).toEqual([1, 1, 1]);
});

test("a claim that finds nothing answers so at once, and writes nothing about it", async () => {
  await using server = await serving();
  const key = await server.key("service");
  const { db } = server.holdfast;
  const ended = await aJob(db, { items: 1 });
  await aJob(db, { items: 1, pipeline: "another" });
  await aJob(db, { items: 1, accepted: true });
  const { batches: got } = await claim(server, key);
  expect(got.map(({ job }) => job)).toEqual([ended]);
  const results = [{ handle: got[0]!.handle, item: 1, result: {} }];
  await server.ask("POST", `/v1/jobs/${ended}/results`, { key, json: { results } });
  await db.query(
    "update holdfast.operations set state = 'completed', finished_at = now() where id = $1",
    [ended],
  );
  const logs = async () => (await db.query("select from holdfast.logs")).rows.length;
  const before = await logs();
  for (let time = 0; time < 3; time++) {
    expect(await claim(server, key)).toEqual({ waiting: 0, batches: [] });
  }
  expect(await logs()).toBe(before);
});

test("a claim that asks for what cannot be is refused by name", async () => {
  await using server = await serving();
  const key = await server.key("service");
  for (const [json, path] of [
    [{ ...asked, limit: 0 }, "limit"],
    [{ ...asked, limit: 101 }, "limit"],
    [{ ...asked, limit: 1.5 }, "limit"],
    [{ ...asked, limit: "garbage" }, "limit"],
    [{ ...asked, waitSeconds: 61 }, "waitSeconds"],
    [{ ...asked, waitSeconds: -1 }, "waitSeconds"],
    [{ ...asked, pipelines: [] }, "pipelines"],
    [{ worker: "w" }, "pipelines"],
    [{ pipelines: ["p"] }, "worker"],
    [{ ...asked, worker: " " }, "worker"],
    [{ ...asked, cutoff_hours: "x" }, "input"],
  ] as const) {
    const problem = await problemOf(await server.ask("POST", "/v1/jobs/claim", { key, json }));
    expect(problem.status, JSON.stringify(json)).toBe(400);
    expect(problem.issues?.map((issue) => issue.path.replace(/\[.*/, ""))).toContain(path);
  }
  for (const [path, json] of [
    ["extend", { handles: [] }],
    ["extend", { handles: ["no handle"] }],
    ["release", { handles: Array(101).fill("x".repeat(59)) }],
    ["release", {}],
  ] as const) {
    const answer = await server.ask("POST", `/v1/jobs/${path}`, { key, json });
    expect((await problemOf(answer)).detail, path).toContain("handles");
  }
  const large = { ...asked, worker: "w".repeat(70_000) };
  const answer = await server.ask("POST", "/v1/jobs/claim", { key, json: large });
  expect(answer.status).toBe(413);
  expect((await problemOf(answer)).detail).toContain("is over 65536 bytes");
});

test("a worker extends its leases, holds no more than it may, and learns of a cancel", async () => {
  await using server = await serving();
  const key = await server.key("service");
  const { db } = server.holdfast;
  const id = await aJob(db, { items: 50, batchSize: 10 });
  const { batches: held } = await claim(server, key, { limit: 5 });
  expect(held).toHaveLength(2);
  const handles = held.map(({ handle }) => handle);
  const extend = async () => {
    const answer = await server.ask("POST", "/v1/jobs/extend", { key, json: { handles } });
    expect(answer.status).toBe(200);
    return ((await answer.json()) as { leases: object[] }).leases;
  };
  expect(await extend()).toMatchObject(
    handles.map((handle) => ({ handle, status: "extended", cancelled: false })),
  );
  expect((await claim(server, key)).batches).toEqual([]);
  expect((await claim(server, key, { worker: "another" })).batches).toHaveLength(1);
  await server.holdfast.job.cancel(id);
  expect(await extend()).toMatchObject(handles.map((handle) => ({ handle, cancelled: true })));
});

test("a handle is worth nothing with another key", async () => {
  await using server = await serving();
  const [mine, theirs] = [await server.key("service"), await server.key("service")];
  const id = await aJob(server.holdfast.db, { items: 2 });
  const { handle } = (await claim(server, mine)).batches[0]!;
  for (const path of ["extend", "release"]) {
    const json = { handles: [handle] };
    const answer = await server.ask("POST", `/v1/jobs/${path}`, { key: theirs, json });
    expect(await answer.json(), path).toMatchObject({ leases: [{ handle, status: "ended" }] });
  }
  const json = { results: [{ handle, item: 1, result: 1 }] };
  const posted = await server.ask("POST", `/v1/jobs/${id}/results`, { key: theirs, json });
  expect(await posted.json()).toMatchObject({ unknown: 1, accepted: 0 });
  expect((await batches(server.holdfast.db))[0]!.state).toBe("leased");
});

test("each result of a post is answered for itself, and a post repeated is told the same", async () => {
  await using server = await serving();
  const key = await server.key("service");
  const { db } = server.holdfast;
  const id = await aJob(db, { items: 4 });
  const other = await aJob(db, { items: 1, pipeline: "q" });
  const { handle } = (await claim(server, key)).batches[0]!;
  const elsewhere = (await claim(server, key, { pipelines: ["q"] })).batches[0]!.handle;
  const post = async (job: string, results: object[], repeat?: string) => {
    const headers: Record<string, string> = repeat ? { "idempotency-key": repeat } : {};
    const asking = { key, headers, json: { results } };
    const answer = await server.ask("POST", `/v1/jobs/${job}/results`, asking);
    expect(answer.status).toBe(200);
    return (await answer.json()) as PostAnswer;
  };
  const results = [
    { handle, item: 1, result: { seen: true }, counts: { seen: 3 } },
    { handle, item: 1, result: { seen: false } },
    { handle, item: 2, error: "torn" },
    { handle, item: 77, result: 1 },
    { handle: elsewhere, item: 1, result: 1 },
    { handle, error: "all the rest" },
  ];
  const first = await post(id, results, "once");
  expect(first.results.map(({ status }) => status)).toEqual([
    "accepted",
    "duplicate",
    "accepted",
    "unknown",
    "unknown",
    "accepted",
  ]);
  expect(first.results.at(-1)).toMatchObject({ item: null, items: 2 });
  expect(await post(id, results, "once")).toEqual(first);
  expect((await post(id, results.slice(0, 1))).results[0]!.status).toBe("duplicate");
  const { counts } = await server.holdfast.job.get(id);
  expect(counts).toMatchObject({ succeeded: 1, failed: 3 });
  expect((await server.holdfast.job.get(other)).counts).not.toHaveProperty("succeeded");
});

test("a post is written whole or not at all", async () => {
  await using server = await serving();
  const key = await server.key("service");
  const { db } = server.holdfast;
  const id = await aJob(db, { items: 3 });
  const { handle } = (await claim(server, key)).batches[0]!;
  const good = { handle, item: 1, result: 1 };
  const path = `/v1/jobs/${id}/results`;
  for (const [json, where] of [
    [{ results: [good, { handle, item: 2 }] }, "results[1]"],
    [{ results: [good, { handle, result: 1 }] }, "results[1]"],
    [{ results: [good, { handle, item: 2, result: "x".repeat(17_000) }] }, "16384 bytes"],
    [{ results: [good, { handle, item: 2, result: "\0" }] }, "results[1]"],
    [{ results: [good, { ...good, counts: { Odd: 1 } }] }, "results[1].counts"],
    [{ results: [good], odd: 1 }, "odd"],
    [{ results: [] }, "at least one result"],
    [
      { results: Array.from({ length: 1_001 }, () => good) },
      "at most 1000 results; split the post",
    ],
  ] as const) {
    const answer = await server.ask("POST", path, { key, json });
    const problem = await problemOf(answer);
    expect([problem.status, problem.detail]).toEqual([400, expect.stringContaining(where)]);
  }
  const headers = { "content-type": "application/json" };
  // Deeper than any stack.
  const long = `${"[".repeat(50_000)}${"]".repeat(50_000)}`;
  const body = `{"results":[{"handle":"${handle}","item":2,"result":${long}}]}`;
  const deep = await server.ask("POST", path, { key, headers, body });
  expect((await problemOf(deep)).detail).toContain("is nested more than 256 deep");
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(1024 ** 2).fill(32)),
  });
  const large = await server.ask("POST", path, { key, headers, body: endless });
  expect(large.status).toBe(413);
  expect((await problemOf(large)).detail).toContain(
    "is over 33554432 bytes: post fewer results at once",
  );
  expect((await db.query("select from holdfast.outcomes")).rows).toEqual([]);
  expect((await db.query("select from holdfast.job_results")).rows).toEqual([]);
  const answer = await server.ask("POST", path, { key, json: { results: [good] } });
  expect(await answer.json()).toMatchObject({ accepted: 1 });
});

test("without Postgres everything answers 503 and when to try again", async () => {
  await using server = await serving();
  const key = await server.key("service");
  const id = await aJob(server.holdfast.db, { items: 1 });
  const { handle } = (await claim(server, key)).batches[0]!;
  await server.holdfast.close();
  for (const [path, json] of [
    ["/v1/jobs", { pipeline: "p", items: [{}] }],
    ["/v1/jobs/claim", asked],
    ["/v1/jobs/claim", { ...asked, waitSeconds: 30 }],
    ["/v1/jobs/extend", { handles: [handle] }],
    ["/v1/jobs/release", { handles: [handle] }],
    [`/v1/jobs/${id}/results`, { results: [{ handle, item: 1, result: 1 }] }],
  ] as const) {
    const answer = await server.ask("POST", path, { key, json });
    expect(answer.status, path).toBe(503);
    expect(answer.headers.get("retry-after")).toBe("5");
    expect((await problemOf(answer)).code).toBe("postgres-unavailable");
  }
});

test("a post whose connection dies half-way has written nothing, and can be posted again", async () => {
  await using server = await serving();
  await using beside = await serving({ database: server.databaseUrl });
  const key = await server.key("service");
  const { db } = beside.holdfast;
  const id = await aJob(db, { items: 2 });
  const { handle } = (await claim(server, key)).batches[0]!;
  const json = { results: [1, 2].map((item) => ({ handle, item, result: item })) };
  const post = () => server.ask("POST", `/v1/jobs/${id}/results`, { key, json });
  const cut = await db.transaction(async (tx) => {
    await tx.query("lock table holdfast.job_results in exclusive mode");
    const answer = post();
    await vi.waitFor(async () => {
      const { rows } = await db.query<{ pid: number }>(
        `select pid, pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and wait_event_type = 'Lock'
            and query like '%settle_job_items%'`,
      );
      expect(rows).toHaveLength(1);
    });
    return answer;
  });
  expect(cut.status).toBe(503);
  expect((await db.query("select from holdfast.outcomes")).rows).toEqual([]);
  expect(await (await post()).json()).toMatchObject({ accepted: 2 });
});

/** Holds back claims of this worker until it is let go. */
async function heldBack(db: Db, holder: string, during: () => Promise<void>): Promise<void> {
  await db.transaction(async (tx) => {
    await tx.query("select pg_advisory_xact_lock(4207, hashtext($1))", [holder]);
    await during();
  });
}

async function waiting(db: Db): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    `select count(*)::int as n from pg_locks
      where locktype = 'advisory' and classid = 4207 and not granted
        and database = (select oid from pg_database where datname = current_database())`,
  );
  return rows[0]!.n;
}

test("a claim whose client hangs up takes nothing, also when a batch was just found for it", async () => {
  await using server = await listening();
  const { db } = server.holdfast;
  const { id: keyId, secret } = await server.holdfast.key.create({ name: "s", role: "service" });
  await aJob(db, { items: 5 });
  const body = JSON.stringify({ ...asked, waitSeconds: 20 });
  const socket = dial(server.port, "127.0.0.1");
  socket.on("error", () => undefined);
  await once(socket, "connect");
  await heldBack(db, `${keyId}/w`, async () => {
    socket.write(
      `POST /v1/jobs/claim HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${secret}\r\n` +
        `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    await vi.waitFor(async () => expect(await waiting(db)).toBe(1));
    socket.destroy();
    await once(socket, "close");
    // Whoever is answered now was heard after the hang-up.
    await (await fetch(`${server.url}/livez`)).text();
  });
  await vi.waitFor(async () =>
    expect(await batches(db)).toEqual([{ state: "ready", lease: 1, delivery: 0 }]),
  );
  expect(server.logged.filter(({ level }) => level >= 40)).toEqual([]);
});

test("a claim whose client hangs up while the answer is on its way takes nothing", async () => {
  await using server = await serving();
  const { db } = server.holdfast;
  const key = await server.key("service");
  await aJob(db, { items: 5 });
  const gone = new AbortController();
  const request = new Request("http://localhost/v1/jobs/claim", {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify(asked),
    signal: gone.signal,
  });
  const answer = await server.app.request(request);
  expect(((await answer.json()) as Claim).batches).toHaveLength(1);
  expect(await batches(db)).toMatchObject([{ state: "leased" }]);
  gone.abort();
  await vi.waitFor(async () =>
    expect(await batches(db)).toEqual([{ state: "ready", lease: 1, delivery: 0 }]),
  );
});

test("a claim waits for work, and a server that stops keeps nobody waiting", async () => {
  await using server = await listening();
  const { db } = server.holdfast;
  const key = await server.key("service");
  const wait = async () => {
    const answer = await fetch(`${server.url}/v1/jobs/claim`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ ...asked, waitSeconds: 30 }),
    });
    expect(answer.status).toBe(200);
    return (await answer.json()) as Claim;
  };
  // Seen means that the claim has come in.
  const seen = () =>
    vi.waitFor(async () =>
      expect((await db.query("select from holdfast.job_workers")).rows).toHaveLength(1),
    );
  const first = wait();
  await seen();
  await aJob(db, { items: 1 });
  expect((await first).batches).toHaveLength(1);

  const logged = server.logged.length;
  const startedAt = performance.now();
  const second = wait();
  const answered = server.logged.slice(logged).some(({ path }) => path === "/v1/jobs/claim");
  expect(answered).toBe(false);
  await (await fetch(`${server.url}/livez`)).text();
  await server.stop();
  expect(await second).toMatchObject({ batches: [] });
  expect(performance.now() - startedAt).toBeLessThan(5_000);
});

test("no secret stands in the log: callers are known by the id of their key", async () => {
  await using server = await listening();
  const key = await server.key("service");
  const id = await aJob(server.holdfast.db, { items: 1 });
  const send = (path: string, json: object) =>
    fetch(server.url + path, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify(json),
    });
  const { batches: held } = (await (await send("/v1/jobs/claim", asked)).json()) as Claim;
  const { handle } = held[0]!;
  await send("/v1/jobs/extend", { handles: [handle] });
  await send(`/v1/jobs/${id}/results`, { results: [{ handle, item: 1, error: "torn" }] });
  await send(`/v1/jobs/${id}/results`, { results: [{ handle, item: "odd" }] });
  const { rows } = await server.holdfast.db.query("select message, fields from holdfast.logs");
  const told = JSON.stringify([server.logged, rows]);
  for (const secret of [key, key.slice(3, 11), handle]) expect(told).not.toContain(secret);
  const { rows: holders } = await server.holdfast.db.query<{ holder: string }>(
    "select holder from holdfast.job_leases",
  );
  expect(holders[0]!.holder).toMatch(/^[0-9a-f-]{36}\/w$/);
});

/** A claim that waits, and what then makes the server forget what it knew of keys. */
async function waitingClaim(server: Serving, tenants?: string[]) {
  const { db } = server.holdfast;
  const [key, admin] = [await server.key("service", tenants), await server.key("admin")];
  const json = { ...asked, waitSeconds: 30 };
  const waiting = server.ask("POST", "/v1/jobs/claim", { key, json });
  await vi.waitFor(() => expect(claimPollerOf(db).waiting).toBe(1));
  const revoke = async (role: string) => {
    const found = await db.query<{ id: string }>(
      "select id from holdfast.api_keys where role = $1",
      [role],
    );
    const { id } = found.rows[0]!;
    const answer = await server.ask("DELETE", `/v1/keys/${id}`, { key: admin });
    expect(answer.status).toBeLessThan(300);
  };
  return { waiting, revoke, db };
}

test("a key that is revoked while its worker waits is given nothing", async () => {
  await using server = await serving();
  const { waiting, revoke, db } = await waitingClaim(server);
  await revoke("service");
  await aJob(db, { items: 1 });
  expect((await waiting).status).toBe(401);
  expect(await batches(db)).toEqual([{ state: "ready", lease: 0, delivery: 0 }]);
});

test("a key whose tenants change while its worker waits is given nothing of before", async () => {
  await using server = await serving();
  const { waiting, revoke, db } = await waitingClaim(server, ["a", "default"]);
  await db.query("update holdfast.api_keys set tenants = '{a}' where role = 'service'");
  await server.key("viewer");
  await revoke("viewer");
  await aJob(db, { items: 1 });
  expect(await (await waiting).json()).toEqual({ waiting: 0, batches: [] });
  expect(await batches(db)).toEqual([{ state: "ready", lease: 0, delivery: 0 }]);
});
