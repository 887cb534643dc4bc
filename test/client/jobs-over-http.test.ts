import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { jobsOverHttp } from "../../client/jobs-over-http.ts";
import { HoldfastError } from "../../contracts/errors.ts";
import { listening } from "../server/listening.ts";
import { aJob } from "../support/jobs.ts";

const TOKEN = "hf_a-secret-that-nobody-else-may-see";
const ASK = { pipelines: ["p"], worker: "w" };

/** A server that answers as it is told, and remembers what it was asked. */
async function answering(answer: Parameters<typeof createServer>[1]) {
  const asked: IncomingMessage[] = [];
  const server: Server = createServer((request, response) => {
    asked.push(request);
    answer!(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

async function refused(work: Promise<unknown>): Promise<HoldfastError> {
  const error: unknown = await work.catch((error: unknown) => error);
  expect(error).toBeInstanceOf(HoldfastError);
  return error as HoldfastError;
}

test("claims, extensions, posts and releases over HTTP are those of the SDK, refusals too", async () => {
  await using server = await listening();
  const { db } = server.holdfast;
  const id = await aJob(db, { items: 20 });
  const jobs = jobsOverHttp({ url: `${server.url}/`, token: await server.key("service") });
  const { batches } = await jobs.claim({ ...ASK, limit: 2, heartbeat: true });
  expect(batches.map(({ job }) => job)).toEqual([id, id]);
  const [one, two] = batches.map(({ handle }) => handle) as [string, string];
  expect((await jobs.extend({ handles: [one, two] })).leases).toMatchObject([
    { status: "extended" },
    { status: "extended" },
  ]);
  const posted = await jobs.post(id, { results: [{ handle: one, error: "broken" }], key: "k" });
  expect(posted).toMatchObject({ accepted: 1, results: [{ items: 10 }] });
  expect((await jobs.release({ handles: [two] })).leases).toMatchObject([{ status: "released" }]);
  const wrong = await refused(jobs.claim({ pipelines: [], worker: "w" }));
  expect([wrong.code, wrong.status]).toEqual(["invalid-input", 400]);
  expect(wrong.message).toMatch(/^pipelines: must name a pipeline/);
  const viewer = jobsOverHttp({ url: server.url, token: await server.key("viewer") });
  expect(await refused(viewer.claim(ASK))).toMatchObject({ code: "forbidden", status: 403 });
  expect(await refused(jobsOverHttp({ url: server.url }).claim(ASK))).toMatchObject({
    code: "unauthorized",
    status: 401,
  });
});

test("a claim that is given up while it waits holds nothing at the server", async () => {
  await using server = await listening();
  const { db, job } = server.holdfast;
  const jobs = jobsOverHttp({ url: server.url, token: await server.key("service") });
  const stop = new AbortController();
  const waiting = jobs.claim({ ...ASK, waitSeconds: 30 }, { signal: stop.signal });
  await expect.poll(() => job.workers()).toHaveLength(1);
  stop.abort();
  await expect(waiting).rejects.toThrow(/abort/);
  await aJob(db, { items: 10 });
  const { batches } = await job.claim({ ...ASK, worker: "other", waitSeconds: 5 });
  expect(batches).toMatchObject([{ delivery: 1 }]);
});

test("the token goes to the named server alone: a redirect is refused, wherever it leads", async () => {
  const other = await answering((_, response) => response.end("{}"));
  const { url, asked } = await answering((_, response) => {
    response.writeHead(307, { location: `${other.url}/v1/jobs/claim` }).end();
  });
  const error = await refused(jobsOverHttp({ url, token: TOKEN }).claim(ASK));
  expect(error).toMatchObject({ code: "redirected", status: 400 });
  expect(asked[0]!.headers.authorization).toBe(`Bearer ${TOKEN}`);
  expect(other.asked).toEqual([]);
});

test("a server that is away, silent or something else is told from one that refuses", async () => {
  const { url: silent } = await answering(() => undefined);
  const { url: page } = await answering((_, response) => response.end("<h1>Hello</h1>"));
  const { url: proxy } = await answering((_, response) => {
    response.writeHead(502).end("bad gateway");
  });
  const { url: busy } = await answering((_, response) => {
    response
      .writeHead(503, { "retry-after": "7" })
      .end(JSON.stringify({ code: "postgres-unavailable", detail: "Postgres did not answer" }));
  });
  const asked = (url: string, timeoutMs = 5_000) =>
    refused(jobsOverHttp({ url, token: TOKEN, timeoutMs }).claim(ASK));
  const errors = [
    await asked("http://127.0.0.1:1"),
    await asked(silent, 100),
    await asked(page),
    await asked(proxy),
    await asked(busy),
  ];
  expect(errors.map(({ code, status }) => [code, status])).toEqual([
    ["server-unreachable", 503],
    ["server-unreachable", 503],
    ["not-holdfast", 502],
    ["not-holdfast", 502],
    ["postgres-unavailable", 503],
  ]);
  expect(errors[4]!.details).toEqual({ retryAfterSeconds: 7 });
  for (const { message, stack } of errors) expect(`${message}${stack}`).not.toContain(TOKEN);
});

test("a url or a token that is none is refused by name, and a token is never repeated", () => {
  const cases: [string, string | undefined, RegExp][] = [
    ["holdfast:4780", undefined, /^url: must begin with http/],
    ["ftp://host", undefined, /^url: must begin with http/],
    ["http://", undefined, /^url: must begin with http/],
    ["http://me:secret@host", undefined, /^url: must hold no credentials/],
    ["http://host", `${TOKEN}\n`, /^token: must be an API key/],
    ["http://host", "", /^token: must be an API key/],
  ];
  for (const [url, token, message] of cases) {
    const made = () => jobsOverHttp({ url, token });
    expect(made, url).toThrow(message);
    expect(made).not.toThrow(new RegExp(TOKEN));
  }
});
