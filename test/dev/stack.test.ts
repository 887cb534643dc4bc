import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, Connection } from "@temporalio/client";
import pg from "pg";
import { afterEach, describe, expect, test } from "vitest";
import { removed, removeWhenGone } from "../../dev/leash.ts";
import { startStack, StackRunning } from "../../dev/stack.ts";
import type { StackOptions } from "../../dev/stack.ts";
import { until } from "../../dev/until.ts";
import { runStack, stillRunning, withoutServers } from "./running-stack.ts";

const undo: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

// The leash lets a Postgres that does not stop live for 15 s, so this is more than that.
const GONE_WITHIN_MS = 25_000;

test("a temporary stack answers, and stopping it leaves neither process nor directory", async () => {
  const stack = await started({ durability: "fast" });
  await expect(select(stack.databaseUrl, "select current_database()")).resolves.toBe("holdfast");
  await expect(searchAttributes(stack.temporalAddress)).resolves.toMatchObject({
    HoldfastKind: expect.anything(),
    HoldfastScope: expect.anything(),
    HoldfastTenant: expect.anything(),
  });
  expect((await fetch(stack.temporalUiUrl ?? "")).status).toBe(200);
  const ports = [stack.postgres?.port, stack.temporal?.port, stack.temporal?.uiPort];
  await stack.stop();
  expect(existsSync(stack.dir)).toBe(false);
  expect([stack.postgres?.pid, stack.temporal?.pid]).toEqual([undefined, undefined]);
  for (const port of ports) await expect(fetch(`http://127.0.0.1:${port}`)).rejects.toThrow();
});

test("Postgres and Temporal can each be killed and come back at the same address with their data", async () => {
  const { postgres, temporal, ...stack } = await started({});
  if (!postgres || !temporal) throw new Error("the stack started no servers of its own");
  await select(stack.databaseUrl, "create table kept as select 1 as n");
  await startWorkflow(stack.temporalAddress, "kept");
  const pids = [postgres.pid, temporal.pid];

  await Promise.all([postgres.stop("kill"), temporal.kill("SIGKILL")]);
  await expect(select(stack.databaseUrl, "select 1")).rejects.toThrow("ECONNREFUSED");
  await Promise.all([postgres.start(), temporal.start()]);

  await expect(select(stack.databaseUrl, "select n from kept")).resolves.toBe(1);
  await expect(workflowStatus(stack.temporalAddress, "kept")).resolves.toBe("RUNNING");
  expect([postgres.pid, temporal.pid]).not.toEqual(pids);
});

describe("a stack whose process ends leaves nothing behind", () => {
  test.each(["SIGKILL", "SIGINT", "SIGTERM"] as const)("when that is by %s", async (signal) => {
    const stack = await runStack("--temporary");
    // The leash, Postgres with its own children, Temporal.
    expect(stack.below.length).toBeGreaterThan(5);
    stack.process.kill(signal);
    await until(
      () => stillRunning(stack.below).length === 0 && !existsSync(stack.dir),
      GONE_WITHIN_MS,
      () => `left behind: ${stillRunning(stack.below).join(" ")} ${stack.dir}`,
    );
  });

  test("when Ctrl-C reaches every process of the terminal at once", async () => {
    const stack = await runStack("--temporary");
    process.kill(-(stack.process.pid ?? 0), "SIGINT");
    const [code] = await once(stack.process, "exit");
    expect(code).toBe(0);
    expect(stillRunning(stack.below).length).toBeLessThanOrEqual(1);
    await until(
      () => stillRunning(stack.below).length === 0,
      GONE_WITHIN_MS,
      () => "left behind",
    );
    expect(existsSync(stack.dir)).toBe(false);
  });
});

describe("a kept state", () => {
  test("refuses a second stack while one runs, and says where that one is", async () => {
    const persist = await stateDir();
    const first = await runStack("--state", persist);
    undo.push(async () => first.process.kill("SIGKILL") && (await once(first.process, "exit")));
    const second = await started({ persist }).catch((error: unknown) => error);
    expect(second).toBeInstanceOf(StackRunning);
    expect(second).toMatchObject({
      pid: first.process.pid,
      addresses: {
        databaseUrl: first.databaseUrl,
        temporalAddress: first.temporalAddress,
        temporalUiUrl: first.temporalUiUrl,
      },
    });
    expect((second as Error).message).toContain(first.databaseUrl);
  });

  test("comes back after a SIGKILL with its data and at its addresses, at once", async () => {
    const persist = await stateDir();
    const first = await runStack("--state", persist);
    await select(first.databaseUrl, "create table kept as select 1 as n");
    await startWorkflow(first.temporalAddress, "kept");
    first.process.kill("SIGKILL");
    await once(first.process, "exit");

    // The leash is still stopping the first one's servers.
    const second = await started({ persist });
    expect(second).toMatchObject({
      databaseUrl: first.databaseUrl,
      temporalAddress: first.temporalAddress,
      temporalUiUrl: first.temporalUiUrl,
    });
    await expect(select(second.databaseUrl, "select n from kept")).resolves.toBe(1);
    await expect(workflowStatus(second.temporalAddress, "kept")).resolves.toBe("RUNNING");
    await second.stop();
    await expect(readFile(join(persist, "stack.lock"))).rejects.toThrow("ENOENT");
  });
});

test("servers named in the environment are used and not stopped", async () => {
  const environment = { DATABASE_URL: "postgres://there/db", TEMPORAL_ADDRESS: "there:7233" };
  const stack = await started({ environment });
  expect(stack).toMatchObject({
    databaseUrl: environment.DATABASE_URL,
    temporalAddress: environment.TEMPORAL_ADDRESS,
    postgres: undefined,
    temporal: undefined,
  });
});

async function started(options: StackOptions) {
  const stack = await startStack({ environment: withoutServers(), ...options });
  undo.push(stack.stop);
  return stack;
}

async function stateDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "holdfast-state-"));
  removeWhenGone(dir);
  undo.push(async () => {
    await rm(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 });
    removed(dir);
  });
  return dir;
}

async function select(url: string, sql: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query({ text: sql, rowMode: "array" });
    return rows[0]?.[0];
  } finally {
    await client.end();
  }
}

async function withTemporal<T>(address: string, work: (client: Client) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address });
  try {
    return await work(new Client({ connection }));
  } finally {
    await connection.close();
  }
}

const searchAttributes = (address: string) =>
  withTemporal(address, async ({ connection }) => {
    const { customAttributes } = await connection.operatorService.listSearchAttributes({
      namespace: "default",
    });
    return customAttributes;
  });

const startWorkflow = (address: string, workflowId: string) =>
  withTemporal(address, (client) =>
    client.workflow.start("noWorkerRunsThis", {
      workflowId,
      taskQueue: "nobody",
      searchAttributes: { HoldfastTenant: ["a"] },
    }),
  );

const workflowStatus = (address: string, workflowId: string) =>
  withTemporal(address, async (client) => {
    return (await client.workflow.getHandle(workflowId).describe()).status.name;
  });
