import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { nearestRank, type LoadReport } from "../../cli/job-load.ts";
import { openDb, type Db } from "../../db/pool.ts";
import { listening } from "../server/listening.ts";
import { aJob, countsOf } from "../support/jobs.ts";
import { setupCli } from "./support.ts";

const cli = setupCli();
const ID = "01990f3e-0000-7000-8000-000000000000";
const TOKEN = "hf_this_is_never_printed";

function opened(url: string): Db {
  const db = openDb({ url, size: 2 });
  onTestFinished(() => db.close());
  return db;
}

const loadtest = (...flags: string[]) => ["job", "loadtest", ...flags];

test("posts are made round by round, all of them count, and nothing waited for a row", async () => {
  await using server = await listening();
  const db = opened(server.databaseUrl);
  const id = await aJob(db, { items: 700, batchSize: 24 });
  const env = { HOLDFAST_TOKEN: await server.key("service"), DATABASE_URL: server.databaseUrl };
  const flags = ["--job", id, "--host", server.url, "--batch", "20", "--rounds", "3", "--json"];

  const ran = await cli.run(loadtest(...flags), { env });

  expect(ran).toMatchObject({ code: 0, err: "" });
  const report = ran.json<LoadReport & Record<string, unknown>>();
  expect(report).toMatchObject({
    ok: 30,
    total: 30,
    successPercent: 100,
    percentiles: "nearest rank",
    errors: [],
    moreErrors: 0,
  });
  expect(report.rounds).toHaveLength(3);
  for (const round of report.rounds) {
    expect(round).toMatchObject({ ok: 10, total: 10 });
    expect(round.p50Ms).toBeLessThanOrEqual(round.p95Ms);
    expect(round.p95Ms).toBeLessThanOrEqual(round.elapsedMs);
  }
  expect(report.contention!.looks).toBeGreaterThan(3);
  expect(report.contention!.depth).toBeLessThanOrEqual(1);
  expect(await countsOf(db, id)).toMatchObject({ "job/succeeded": 600 });
  // What was claimed and not used is there for others.
  const { rows } = await db.query(
    "select count(*)::int as leased from holdfast.job_batches where state = 'leased'",
  );
  expect(rows).toEqual([{ leased: 0 }]);
});

test("told in text: rounds, how percentiles are taken, and what was looked at", async () => {
  await using server = await listening();
  const db = opened(server.databaseUrl);
  const id = await aJob(db, { items: 20, batchSize: 10 });
  const env = { HOLDFAST_TOKEN: await server.key("service"), DATABASE_URL: null };
  const flags = ["--batch", "5", "--concurrency", "2", "--rounds", "2"];
  const ran = await cli.runHere(loadtest("--job", id, "--host", `${server.url}/`, ...flags), {
    env,
  });
  expect(ran).toMatchObject({ code: 0, err: "" });
  expect(ran.out).toMatch(
    /^ROUND +OK +P50 +P95 +ELAPSED\n1 +2\/2 +[\d.]+ ms +[\d.]+ ms +[\d.]+ ms\n2 +2\/2 /m,
  );
  expect(ran.out).toContain("nearest rank");
  expect(ran.out).toContain("not looked at: set DATABASE_URL");
  expect(ran.out).toMatch(/^4 of 4 posts succeeded \(100 %\)$/m);
});

test("batches of other jobs of the pipeline are given back, at the cost of no delivery", async () => {
  await using server = await listening();
  const db = opened(server.databaseUrl);
  const other = await aJob(db, { items: 30, batchSize: 10 });
  const id = await aJob(db, { items: 20, batchSize: 10 });
  const env = { HOLDFAST_TOKEN: await server.key("service") };
  const flags = ["--batch", "10", "--concurrency", "1", "--rounds", "2", "--json"];
  const ran = await cli.runHere(loadtest("--job", id, "--host", server.url, ...flags), { env });
  expect(ran).toMatchObject({ code: 0, err: "" });
  expect(await countsOf(db, id)).toMatchObject({ "job/succeeded": 20 });
  const { rows } = await db.query(
    `select state, max(delivery)::int as delivery from holdfast.job_batches
      where operation_id = $1 group by 1`,
    [other],
  );
  expect(rows).toEqual([{ state: "ready", delivery: 0 }]);
});

test("a job with too few open items is refused before anything is posted", async () => {
  await using server = await listening();
  const db = opened(server.databaseUrl);
  const id = await aJob(db, { items: 90, batchSize: 24 });
  const env = { HOLDFAST_TOKEN: await server.key("service") };
  const ran = await cli.runHere(loadtest("--job", id, "--host", server.url), { env });
  expect(ran).toMatchObject({ code: 2, out: "" });
  expect(ran.err).toMatch(
    /^error: --job: only 90 of its items .* 3 rounds of 10 posts with 50 results need 1500: /,
  );
  const { rows } = await db.query(
    "select state, count(*)::int as n from holdfast.job_batches group by 1",
  );
  expect(rows).toEqual([{ state: "ready", n: 4 }]);
});

test("below the threshold the exit code is 1, and kinds of errors are told with how often", async () => {
  const reasons = ["a", "b", "c", "d", "e", "f", "g"];
  let posts = 0;
  const host = await fake((_request, response) => {
    const no = posts++;
    if (no >= 10) return accept(response);
    problem(response, 503, `reason ${reasons[Math.min(no, 6)]}, and ${TOKEN}`);
  });
  const flags = ["--host", host, "--batch", "1", "--concurrency", "1", "--rounds", "20"];
  const env = { HOLDFAST_TOKEN: TOKEN, DATABASE_URL: null };

  const ran = await cli.runHere(loadtest("--job", ID, ...flags, "--json"), { env });

  expect(ran.code).toBe(1);
  const report = ran.json<LoadReport & Record<string, unknown>>();
  expect(report).toMatchObject({
    ok: 10,
    total: 20,
    successPercent: 50,
    moreErrors: 5,
    contention: null,
  });
  expect(report.errors).toHaveLength(5);
  expect(report.errors[0]).toEqual({ reason: "HTTP 503: reason a, and ***", times: 1 });
  expect(ran.out + ran.err).not.toContain(TOKEN);

  posts = 0;
  const text = await cli.runHere(loadtest("--job", ID, ...flags), { env });
  expect(text.code).toBe(1);
  expect(text.out).toMatch(/^failed 1 x: HTTP 503: reason a/m);
  expect(text.out).toMatch(/^failed 5 x: of other kinds$/m);
  expect(text.out).toMatch(/^10 of 20 posts succeeded \(50 %, below 100 %\)$/m);
  posts = 0;
  const enough = await cli.runHere(loadtest("--job", ID, ...flags, "--min-success", "50"), { env });
  expect(enough.code).toBe(0);
});

test("a post that is answered and not accepted is no success, nor is one without an answer", async () => {
  let posts = 0;
  const host = await fake((_request, response) => {
    posts++;
    if (posts === 1) accept(response, { accepted: 0, late: 1 });
    else if (posts === 2) response.writeHead(200).end("<html>");
    else if (posts === 3) response.destroy();
    // The fourth is never answered.
  });
  const flags = ["--batch", "1", "--concurrency", "1", "--rounds", "4", "--timeout", "1", "--json"];
  const ran = await cli.runHere(loadtest("--job", ID, "--host", host, ...flags));
  expect(ran.code).toBe(1);
  expect(
    ran.json<LoadReport & Record<string, unknown>>().errors.map(({ reason }) => reason),
  ).toEqual([
    "not all results accepted: late",
    "the answer is not JSON: is this a Holdfast server?",
    expect.stringMatching(/^no connection \(/),
    "no answer within 1 s",
  ]);
});

test("the token comes from a file, standard input or the environment, and goes to no other host", async () => {
  const heard: (string | undefined)[] = [];
  const elsewhere = await server(({ headers }, response) => {
    heard.push(`elsewhere ${headers.authorization}`);
    accept(response);
  });
  const host = await fake(({ headers }, response) => {
    heard.push(headers.authorization);
    response.writeHead(307, { location: `${elsewhere}/v1/jobs` }).end();
  });
  const file = join(cli.folder, "token.txt");
  await writeFile(file, `${TOKEN}\n`);
  const flags = ["--host", host, "--batch", "1", "--concurrency", "1", "--rounds", "1"];
  const ways: [string[], { input?: string; env?: Record<string, string> }][] = [
    [["--token-file", file], { env: { HOLDFAST_TOKEN: "another" } }],
    [["--token-stdin"], { input: `${TOKEN}\n` }],
    [[], { env: { HOLDFAST_TOKEN: TOKEN } }],
  ];
  for (const [more, how] of ways) {
    const ran = await cli.run(loadtest("--job", ID, ...flags, ...more), how);
    expect(ran.code).toBe(1);
    expect(ran.out).toContain("HTTP 307: redirects are not followed");
    expect(ran.out + ran.err).not.toContain(TOKEN);
  }
  expect(heard).toEqual(ways.map(() => `Bearer ${TOKEN}`));
});

test("a server that refuses or is away is told before anything is posted", async () => {
  const refusing = await server((_request, response) => problem(response, 401, "no such key"));
  const refused = await cli.runHere(loadtest("--job", ID, "--host", refusing));
  expect(refused).toMatchObject({ code: 2, out: "" });
  expect(refused.err).toBe("error: --host: HTTP 401: no such key: nothing was posted");
  const away = await cli.runHere(loadtest("--job", ID, "--host", "http://127.0.0.1:9"));
  expect(away).toMatchObject({ code: 1, out: "" });
  expect(away.err).toMatch(/^error: no connection .*: nothing was posted$/);
});

const host = (url: string) => ["--job", ID, "--host", url];
test.each<[string, string[], RegExp]>([
  ["no job", [], /'--job <id>' not specified/],
  ["a job that is no id", ["--job", "7"], /--job: must be the id of a job/],
  ["half a batch", ["--job", ID, "--batch", "1.5"], /--batch.*whole number/],
  ["a batch that is a word", ["--job", ID, "--batch", "many"], /--batch.*whole number/],
  ["no batch", ["--job", ID, "--batch", "0"], /--batch.*at least 1/],
  ["less than no batch", ["--job", ID, "--batch", "-1"], /--batch.*at least 1/],
  ["too large a batch", ["--job", ID, "--batch", "1001"], /--batch: must be at most 1000/],
  ["no concurrency", ["--job", ID, "--concurrency", "0"], /--concurrency.*at least 1/],
  ["concurrency 2e1", ["--job", ID, "--concurrency", "2e1"], /--concurrency.*whole number/],
  [
    "too much concurrency",
    ["--job", ID, "--concurrency", "5000"],
    /--concurrency: must be at most/,
  ],
  ["no rounds", ["--job", ID, "--rounds", "0"], /--rounds.*at least 1/],
  ["rounds of a half", ["--job", ID, "--rounds", "0.5"], /--rounds.*whole number/],
  ["no time", ["--job", ID, "--timeout", "0"], /--timeout.*at least 1/],
  ["no threshold", ["--job", ID, "--min-success", "0"], /--min-success.*at least 1/],
  ["more than all", ["--job", ID, "--min-success", "101"], /--min-success: must be at most 100/],
  ["another scheme", host("ftp://server"), /--host: must begin with http/],
  ["a file", host("file:///etc/passwd"), /--host: must begin with http/],
  ["no scheme", host("server:4780"), /--host: must be an address with a host/],
  ["no host", host("http://"), /--host: must be an address with a host/],
  ["a path for a host", host("http:///v1"), /--host: must be an address with a host/],
  ["a port for a host", host("http://:4780"), /--host: must be an address with a host/],
  ["no address at all", host("not a url"), /--host: must be an address with a host/],
  ["nothing", host(""), /--host: must be an address with a host/],
  ["a port there is not", host("http://server:99999"), /--host: must be an address with a host/],
  ["a password", host("http://me:secret@server"), /--host: must hold no user or password/],
  ["a query", host("http://server/?a=1"), /--host: must be the server alone/],
  ["a token on the command line", ["--job", ID, "--token", TOKEN], /unknown option '--token'/],
  ["two tokens", ["--job", ID, "--token-file", "f", "--token-stdin"], /--token-file: goes without/],
  ["no token file", ["--job", ID, "--token-file", "gone"], /--token-file: there is no such file/],
])("%s: one clear line, and exit code 2", async (_what, flags, said) => {
  const ran = await cli.runHere(loadtest(...flags));
  expect(ran.err).toMatch(said);
  expect(ran.err.split("\n")).toHaveLength(1);
  expect(ran.err).not.toContain(TOKEN);
  expect(ran.err).not.toContain("secret");
  expect(ran).toMatchObject({ code: 2, out: "" });
});

test("a token that cannot stand in a header is refused without being shown", async () => {
  const file = join(cli.folder, "two-lines.txt");
  await writeFile(file, `${TOKEN}\n${TOKEN}\n`);
  const two = await cli.runHere(loadtest("--job", ID, "--token-file", file));
  expect(two).toMatchObject({
    code: 2,
    err: "error: --token-file: must hold one token, in one line",
  });
  await writeFile(file, "\n");
  const none = await cli.runHere(loadtest("--job", ID, "--token-file", file));
  expect(none).toMatchObject({ code: 2, err: "error: --token-file: holds no token" });
});

test("a percentile is a value that was seen", () => {
  const ten = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
  expect([50, 95, 100].map((percent) => nearestRank(ten, percent))).toEqual([5, 10, 10]);
  const hundred = Array.from({ length: 100 }, (_, no) => no + 1);
  expect([50, 95].map((percent) => nearestRank(hundred, percent))).toEqual([50, 95]);
  expect(nearestRank([7], 50)).toBe(7);
});

type Handle = (request: IncomingMessage, response: ServerResponse) => void;

async function server(handle: Handle): Promise<string> {
  const listening = createServer((request, response) => {
    request.resume().on("end", () => handle(request, response));
  });
  await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    listening.closeAllConnections();
    listening.close();
  });
  return `http://127.0.0.1:${(listening.address() as AddressInfo).port}`;
}

/** A server that hands out as much as is asked for, and leaves the posts to `onPost`. */
function fake(onPost: Handle): Promise<string> {
  return server((request, response) => {
    const path = request.url!;
    if (path.endsWith("/results")) return onPost(request, response);
    if (path.endsWith("/claim")) {
      const items = Array.from({ length: 50 }, (_, no) => ({ item: no + 1, key: "" }));
      return json(response, { waiting: 1, batches: [{ handle: "h", job: ID, items }] });
    }
    json(response, path.endsWith("/release") ? { leases: [] } : { pipeline: "p" });
  });
}

function json(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function accept(response: ServerResponse, counts: Record<string, number> = {}): void {
  json(response, { results: [], accepted: 1, duplicate: 0, late: 0, unknown: 0, ...counts });
}

function problem(response: ServerResponse, status: number, detail: string): void {
  const type = { "content-type": "application/problem+json" };
  response.writeHead(status, type).end(JSON.stringify({ status, detail }));
}
