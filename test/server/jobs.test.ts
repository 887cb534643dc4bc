import { connect as dial } from "node:net";
import { EventSourceParserStream } from "eventsource-parser/stream";
import { expect, test, vi } from "vitest";
import type { Accepted, JobResult, JobView, Page } from "../../client/index.ts";
import { appendLogs } from "../../db/logs.ts";
import { aJob, begin, claimed, post, results } from "../support/jobs.ts";
import { listening, onPort } from "./listening.ts";
import { problemOf, serving, type Serving } from "./serving.ts";

const NDJSON = "application/x-ndjson";
const items = (n: number) => Array.from({ length: n }, (_, no) => ({ payload: { no } }));
const lines = (values: readonly unknown[]) => values.map((value) => `${JSON.stringify(value)}\n`);

/** Deeper than any stack. */
const LONG = "[".repeat(50_000) + "]".repeat(50_000);
const DEEP = JSON.parse("[".repeat(101) + "]".repeat(101)) as unknown;

async function jobs({ holdfast }: Pick<Serving, "holdfast">): Promise<JobView[]> {
  return (await holdfast.job.list()).items;
}

test("a job is accepted with 202 and where to look, and its repeat answers the same with 200", async () => {
  await using server = await serving();
  const key = await server.key("service");
  const json = { pipeline: "p", items: items(3) };
  const headers = { "idempotency-key": "once" };
  const first = await server.ask("POST", "/v1/jobs", { key, headers, json });
  expect(first.status).toBe(202);
  const accepted = (await first.json()) as Accepted;
  expect(accepted).toMatchObject({ kind: "job", state: "accepted", total: 3, existing: false });
  expect(first.headers.get("location")).toBe(`/v1/jobs/${accepted.id}`);

  const again = await server.ask("POST", "/v1/jobs", { key, headers, json });
  expect(again.status).toBe(200);
  expect(await again.json()).toMatchObject({ id: accepted.id, existing: true });
  const other = { pipeline: "p", items: items(4) };
  const refused = await server.ask("POST", "/v1/jobs", { key, headers, json: other });
  expect(refused.status).toBe(409);
  const two = { ...json, key: "other" };
  const differing = await server.ask("POST", "/v1/jobs", { key, headers, json: two });
  expect((await problemOf(differing)).detail).toContain('Idempotency-Key: says "once"');

  const seen = await server.ask("GET", `/v1/jobs/${accepted.id}`, { key });
  expect(await seen.json()).toMatchObject({ id: accepted.id, pipeline: "p", total: 3 });
  expect(await jobs(server)).toHaveLength(1);
});

test("items come as lines too, with everything else as parameters", async () => {
  await using server = await serving();
  const key = await server.key("service");
  const path =
    "/v1/jobs?pipeline=cut/fine&batchSize=2&deliveries=3&maxFailedShare=0.25&shuffle=false&key=k";
  const body = lines(items(5)).join("");
  const headers = { "content-type": NDJSON };
  const answer = await server.ask("POST", path, { key, headers, body });
  expect(answer.status).toBe(202);
  const { id, total } = (await answer.json()) as Accepted;
  expect(total).toBe(5);
  const { rows } = await server.holdfast.db.query(
    "select pipeline, batch_size, deliveries, max_failed_share from holdfast.jobs where operation_id = $1",
    [id],
  );
  expect(rows).toEqual([
    { pipeline: "cut/fine", batch_size: 2, deliveries: 3, max_failed_share: 0.25 },
  ]);
});

test("what is wrong with a job is named, and nothing of it is there", async () => {
  const collectors = { walk: { collect: () => ({ items: [] }) } };
  await using server = await serving({ config: { jobs: { collectors } } });
  const key = await server.key("service");
  const ndjson = { "content-type": NDJSON };
  const good = lines(items(2)).join("");
  for (const [path, asked, status, detail] of [
    ["/v1/jobs?pipeline=p", { headers: ndjson, body: `${good}nonsense\n` }, 400, "line 3: is not"],
    ["/v1/jobs?pipeline=p", { headers: ndjson, body: `${good}{"x":1}\n` }, 400, "line 3"],
    ["/v1/jobs", { headers: ndjson, body: good }, 400, "pipeline"],
    ["/v1/jobs?pipeline=p&batchSize=0", { headers: ndjson, body: good }, 400, "batchSize"],
    ["/v1/jobs?pipeline=p&cutoff_hours=x", { headers: ndjson, body: good }, 400, "cutoff_hours"],
    ["/v1/jobs?pipeline=p", { json: { pipeline: "p", items: [] } }, 400, "a JSON body carries"],
    ["/v1/jobs", { json: { pipeline: "p", items: [{ payload: DEEP }] } }, 400, "100 deep"],
    ["/v1/jobs?pipeline=p", { headers: ndjson, body: `{"payload":${LONG}}` }, 413, "line 1"],
    ["/v1/jobs", { json: { items: items(1) } }, 400, "pipeline"],
    ["/v1/jobs", { json: { pipeline: "p" } }, 400, "items"],
    ["/v1/jobs", { json: { pipeline: "no good", items: [] } }, 400, "pipeline"],
    [
      "/v1/jobs",
      { json: { pipeline: "p", items: [{ payload: "x".repeat(17_000) }] } },
      400,
      "16384",
    ],
    [
      "/v1/jobs",
      { json: { pipeline: "p", collector: "nobody" } },
      400,
      "holdfast.config.ts has walk",
    ],
    ["/v1/jobs", { headers: { "content-type": "text/csv" }, body: "a,b" }, 415, NDJSON],
  ] as const) {
    const answer = await server.ask("POST", path, { key, ...asked });
    const problem = await problemOf(answer);
    expect([answer.status, problem.detail], path).toEqual([
      status,
      expect.stringContaining(detail),
    ]);
  }
  const large = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(1024 ** 2).fill(32)),
  });
  const headers = { "content-type": "application/json" };
  const answer = await server.ask("POST", "/v1/jobs", { key, headers, body: large });
  expect(answer.status).toBe(413);
  expect((await problemOf(answer)).detail).toMatch(/is over 33554432 bytes: send NDJSON/);
  expect(await jobs(server)).toEqual([]);
});

test("an upload of items that ends early leaves nothing", async () => {
  await using server = await listening();
  const socket = dial(server.port, "127.0.0.1");
  socket.on("error", () => undefined);
  const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
  const key = await server.key("service");
  socket.write(
    `POST /v1/jobs?pipeline=p HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${key}\r\n` +
      `content-type: ${NDJSON}\r\ntransfer-encoding: chunked\r\n\r\n`,
  );
  for (const line of lines(items(100))) socket.write(chunk(line));
  await vi.waitFor(() => expect(socket.bytesWritten).toBeGreaterThan(2_000));
  socket.destroy();
  await vi.waitFor(() =>
    expect(server.logged.some(({ msg, path }) => msg === "request" && path === "/v1/jobs")).toBe(
      true,
    ),
  );
  expect(await jobs(server)).toEqual([]);
  expect(server.logged.filter(({ level }) => level >= 40)).toEqual([]);
});

test("jobs are listed newest first, page by page, and listing them changes nothing", async () => {
  await using server = await serving();
  const key = await server.key("viewer");
  const { db } = server.holdfast;
  for (const pipeline of ["a", "b", "a"]) await aJob(db, { items: 1, pipeline });
  const rows = async () =>
    (await db.query("select xmin, ctid, * from holdfast.job_turns order by operation_id")).rows;
  const before = await rows();
  const list = async (query: string) => {
    const answer = await server.ask("GET", `/v1/jobs${query}`, { key });
    expect(answer.status).toBe(200);
    return (await answer.json()) as Page<JobView>;
  };
  const ids = (await list("")).items.map(({ id }) => id);
  expect(ids).toHaveLength(3);
  expect(ids).toEqual(ids.toSorted().toReversed());
  const first = await list("?limit=2");
  const second = await list(`?limit=2&after=${first.next}`);
  expect([...first.items, ...second.items].map(({ id }) => id)).toEqual(ids);
  expect(second.next).toBeUndefined();
  expect((await list("?pipeline=a")).items).toHaveLength(2);
  expect((await list("?state=completed")).items).toEqual([]);
  for (const query of ["limit=0", "limit=x", "limit=201", "state=odd", "after=x", "cutoff=x"]) {
    const answer = await server.ask("GET", `/v1/jobs?${query}`, { key });
    expect((await problemOf(answer)).status, query).toBe(400);
  }
  expect(await rows()).toEqual(before);
  expect((await db.query("select from holdfast.job_workers")).rows).toEqual([]);
});

test("a job is cancelled once, and run again by how its items ended", async () => {
  await using server = await serving();
  const key = await server.key("operator");
  const { db } = server.holdfast;
  const submitted = await server.holdfast.job.submit({ pipeline: "p", items: items(2) });
  const at = `/v1/jobs/${submitted.id}`;
  const early = await server.ask("POST", `${at}/retry`, { key });
  expect((await problemOf(early)).code).toBe("still-open");
  for (let time = 0; time < 2; time++) {
    const answer = await server.ask("POST", `${at}/cancel`, { key });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ state: "cancelled", counts: { cancelled: 2 } });
  }
  const odd = await server.ask("POST", `${at}/retry`, { key, json: { items: "some" } });
  expect((await problemOf(odd)).detail).toContain("items");
  const again = await server.ask("POST", `${at}/retry`, { key, json: { items: "remaining" } });
  expect(again.status).toBe(200);
  expect(await again.json()).toMatchObject({ state: "accepted", generation: 2 });
  await begin(db, submitted.id, 2);
  expect((await claimed(db, "w")).map((lease) => lease.items)).toEqual([[1, 2]]);
});

test("a job is watched until it has ended", async () => {
  await using server = await listening();
  const { id } = await server.holdfast.job.submit({ pipeline: "p", items: items(1) });
  const key = await server.key("viewer");
  const answer = await fetch(`${server.url}/v1/jobs/${id}/watch`, {
    headers: { authorization: `Bearer ${key}` },
  });
  const events = answer
    .body!.pipeThrough(new TextDecoderStream())
    .pipeThrough(new EventSourceParserStream());
  const seen: string[] = [];
  for await (const { event, data } of events) {
    if (event === "progress") {
      const view = JSON.parse(data) as JobView;
      expect(view.progress.summary.status).toBe(view.state);
      seen.push(view.state);
    } else seen.push(`${event} ${data}`);
    if (seen.length === 1) await server.holdfast.job.cancel(id);
  }
  expect(seen).toEqual(["accepted", "cancelled", "end cancelled"]);
});

async function withResults(server: Serving): Promise<string> {
  const { db } = server.holdfast;
  const id = await aJob(db, { items: 30, batchSize: 10 });
  const leases = await claimed(db, "w", { limit: 3 });
  for (const lease of leases) await post(db, id, results(lease, lease.items.slice(1)));
  const [first] = leases;
  await post(db, id, [{ handle: first!.handle, item: first!.items[0]!, error: "torn" }]);
  return id;
}

test("results are answered in pages, and all of them as lines", async () => {
  await using server = await serving();
  const key = await server.key("viewer");
  const at = `/v1/jobs/${await withResults(server)}/results`;
  const seen: JobResult[] = [];
  let after = "";
  for (;;) {
    const answer = await server.ask("GET", `${at}?limit=10${after}`, { key });
    const page = (await answer.json()) as Page<JobResult>;
    seen.push(...page.items);
    if (page.next === undefined) break;
    after = `&after=${page.next}`;
  }
  expect(seen).toHaveLength(28);
  const lined = async (query: string) => {
    const answer = await server.ask("GET", at + query, { key, headers: { accept: NDJSON } });
    expect(answer.headers.get("content-type")).toBe(NDJSON);
    const text = await answer.text();
    return text
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as JobResult);
  };
  expect(await lined("")).toEqual(seen);
  expect(await lined("?after=20")).toEqual(seen.filter(({ item }) => item > 20));
  expect(await lined("?errors=true")).toEqual([
    expect.objectContaining({ item: 1, key: "item-1", error: "torn" }),
  ]);
  for (const query of ["limit=0", "limit=x", "after=x", "errors=perhaps", "after=9999999999"]) {
    const answer = await server.ask("GET", `${at}?${query}`, { key });
    expect((await problemOf(answer)).status, query).toBe(400);
  }
});

test("a stream of results is read no further than its reader has read, and ends with it", async () => {
  await using server = await serving();
  const { db } = server.holdfast;
  const items = 8_000;
  const id = await aJob(db, { items, batchSize: 1_000 });
  await db.query(
    `insert into holdfast.job_results (operation_id, item_no, generation, body, worker)
     select $1, i, 1, to_jsonb(repeat('x', 8000)), 'w' from generate_series(1, $2) i`,
    [id, items],
  );
  let read = 0;
  const { as } = server.holdfast;
  server.holdfast.as = (caller) => {
    const holdfast = as(caller);
    const { results } = holdfast.job;
    holdfast.job.results = async (...asked) => {
      const page = await results(...asked);
      read += page.items.length;
      return page;
    };
    return holdfast;
  };
  await using listening = await onPort(server.app);
  const gone = new AbortController();
  const answer = await fetch(`${listening.url}/v1/jobs/${id}/results`, {
    headers: { authorization: `Bearer ${await server.key("viewer")}`, accept: NDJSON },
    signal: gone.signal,
  });
  const reader = answer.body!.getReader();
  await reader.read();
  // The buffers of the connection fill, and then nobody reads on.
  let before = -1;
  await vi.waitFor(
    () => {
      const still = read === before;
      before = read;
      expect(still).toBe(true);
    },
    { timeout: 10_000, interval: 500 },
  );
  expect(read).toBeGreaterThan(0);
  expect(read).toBeLessThan(items / 2);
  gone.abort();
  expect((await fetch(`${listening.url}/livez`)).status).toBe(200);
  expect(read).toBeLessThan(items / 2);
  expect(server.errors).toEqual([]);
});

test("results that came too late are answered with why", async () => {
  await using server = await serving();
  const key = await server.key("viewer");
  const { db } = server.holdfast;
  const id = await aJob(db, { items: 3 });
  const [lease] = await claimed(db, "w");
  await db.query("update holdfast.operations set cancel_requested_at = now() where id = $1", [id]);
  await server.holdfast.job.cancel(id);
  await db.query(
    "update holdfast.operations set state = 'cancelled', finished_at = now() where id = $1",
    [id],
  );
  await post(db, id, results(lease!));
  const late: unknown[] = [];
  let after = "";
  for (;;) {
    const answer = await server.ask("GET", `/v1/jobs/${id}/late-results?limit=2${after}`, { key });
    expect(answer.status).toBe(200);
    const page = (await answer.json()) as Page<JobResult>;
    late.push(...page.items);
    if (page.next === undefined) break;
    after = `&after=${encodeURIComponent(page.next)}`;
  }
  expect(late).toMatchObject([1, 2, 3].map((item) => ({ item, why: "ended" })));
});

test("the log is told as two texts, newest first, within its limits", async () => {
  await using server = await serving();
  const key = await server.key("viewer");
  const { db } = server.holdfast;
  const id = await aJob(db, { items: 1 });
  await appendLogs(
    db,
    ["info", "error", "warn"].map((level, no) => ({
      operationId: id,
      level: level as "info",
      message: `line ${no}`,
    })),
  );
  const at = `/v1/jobs/${id}/log-text`;
  const whole = await server.ask("GET", at, { key });
  const { stdout, stderr } = (await whole.json()) as { stdout: string; stderr: string };
  const stamp = /^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] /;
  expect(stdout.split("\n").map((line) => line.replace(stamp, ""))).toEqual([
    expect.stringMatching(/^WARN\w* line 2$/),
    "ERROR line 1",
    "INFO line 0",
  ]);
  expect(stderr).toBe("line 1");
  const one = await server.ask("GET", `${at}?logs_limit=1`, { key });
  expect(((await one.json()) as { stdout: string }).stdout).toMatch(/line 2$/);
  for (const query of [
    "logs_limit=0",
    "logs_limit=5001",
    "logs_limit=x",
    "logs_limit=",
    "limit=1",
  ]) {
    const answer = await server.ask("GET", `${at}?${query}`, { key });
    expect((await problemOf(answer)).status, query).toBe(400);
  }
  expect((await server.ask("GET", `${at}?logs_limit=5000`, { key })).status).toBe(200);
});
