import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import getPort from "get-port";
import { expect, onTestFinished, test } from "vitest";
import { jobsOverHttp } from "../../client/jobs-over-http.ts";
import { runPullWorker } from "../../client/pull-worker.ts";
import { expireLeases } from "../../db/job-leases.ts";
import { fresh } from "../support/fresh.ts";
import { aJob } from "../support/jobs.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** A server in a process of its own, which can be killed and started again where it was. */
async function aServer(databaseUrl: string) {
  const port = await getPort();
  const url = `http://127.0.0.1:${port}`;
  let child: ChildProcess | undefined;
  const kill = async () => {
    const running = child;
    child = undefined;
    if (!running || running.exitCode !== null) return;
    const gone = once(running, "exit");
    running.kill("SIGKILL");
    await gone;
  };
  const start = async () => {
    child = spawn(process.execPath, ["--import", "tsx", "cli/holdfast.ts", "server"], {
      cwd: ROOT,
      stdio: "ignore",
      env: {
        ...process.env,
        DATABASE_URL: databaseUrl,
        HOLDFAST_PORT: String(port),
        HOLDFAST_AUTH: "on",
        HOLDFAST_LOG: "silent",
      },
    });
    for (const end = Date.now() + 30_000; ; await pause(50)) {
      const answer = await fetch(`${url}/livez`).catch(() => undefined);
      if (answer?.ok) return;
      if (Date.now() > end) throw new Error("the server does not answer");
    }
  };
  onTestFinished(kill);
  return { url, start, kill };
}

test("a server that is killed in the middle costs no result, and none counts twice", async () => {
  const { db, holdfast, url: databaseUrl } = await fresh();
  const { secret } = await holdfast.key.create({ name: "puller", role: "service" });
  const server = await aServer(databaseUrl);
  await server.start();
  // What was claimed as the server died is known to nobody, and comes back when no sign of life does.
  const id = await aJob(db, { items: 120, batchSize: 4, heartbeatSeconds: 2, deliveries: 9 });
  const stop = new AbortController();
  const upkeep = (async () => {
    for (; !stop.signal.aborted; await pause(100)) await db.transaction((tx) => expireLeases(tx));
  })();
  const worked: number[] = [];
  const told: string[] = [];
  const running = runPullWorker({
    jobs: jobsOverHttp({ url: server.url, token: secret, timeoutMs: 5_000 }),
    pipelines: ["p"],
    worker: "w",
    batches: 2,
    prefetch: 0,
    waitSeconds: 1,
    signal: stop.signal,
    onError: (_, what) => told.push(what),
    process: async ({ items }) => {
      await pause(20);
      worked.push(...items.map(({ item }) => item));
      return items.map(({ item }) => ({ item, result: item, counts: { seen: 1 } }));
    },
  });
  for (const after of [40]) {
    await expect.poll(() => worked.length, { timeout: 20_000, interval: 1 }).toBeGreaterThan(after);
    await server.kill();
    await server.start();
  }
  await expect
    .poll(async () => (await holdfast.job.get(id)).counts, { timeout: 40_000 })
    .toEqual({ succeeded: 120 });
  stop.abort();
  const report = await running;
  await upkeep;
  expect(told.length).toBeGreaterThan(0);
  expect(report).toMatchObject({ failed: 0, unknown: 0, dropped: 0 });
  expect(report.accepted + report.duplicate + report.late).toBe(worked.length);
  expect(report.accepted).toBe(120);
  const { progress } = await holdfast.job.get(id);
  expect(progress.stages[2]!.params).toMatchObject([{ key: "seen", value: 120 }]);
}, 180_000);
