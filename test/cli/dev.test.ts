import { once } from "node:events";
import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";
import { processIdentity } from "../../dev/process-life.ts";
import { until } from "../../dev/until.ts";
import { finished, start, type Ran } from "./support.ts";

/** `holdfast dev` as a newcomer has it: one folder, no variable set. */

interface Addresses {
  databaseUrl: string;
  temporalAddress: string;
  consoleUrl: string;
  pid: number;
}

let folder: string;
let dev: ChildProcess;
let addresses: Addresses;
const said: string[] = [];

const PLUGINS = `export default {
  extractor: {
    name: "moody",
    version: "1",
    extract: (chunk) => {
      if (chunk.text.includes("poison")) throw new Error("poisoned");
      return [];
    },
  },
};`;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-dev-"));
  await writeFile(join(folder, "holdfast.config.mjs"), PLUGINS);
  dev = start(["dev", "--json"], { folder });
  createInterface({ input: dev.stderr! }).on("line", (line) => said.push(line));
  const [line] = (await once(createInterface({ input: dev.stdout! }), "line")) as [string];
  addresses = JSON.parse(line) as Addresses;
}, 120_000);

afterAll(async () => {
  dev.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 250 });
}, 60_000);

function run(...args: string[]): Promise<Ran> {
  return finished(start(args, { folder }));
}

const pids = (checked: Ran) => [...checked.out.matchAll(/#(\d+)$/gm)].map(([, pid]) => Number(pid));

test("commands in its folder need no variable, and --wait ends as the operation ends", async () => {
  await writeFile(join(folder, "good.ndjson"), '{"content":"Ada wrote to Charles."}\n');
  const good = await run("retain", "submit", "good.ndjson", "--bank", "b", "--wait");
  expect(good.err).toMatch(/completed: 1\/1$/);
  expect(good.out).toMatch(/^state +completed$/m);
  expect(good.code).toBe(0);

  await writeFile(join(folder, "bad.ndjson"), '{"content":"poison"}\n{"content":"fine"}\n');
  const how = ["--bank", "b", "--max-attempts", "1", "--wait", "--json"];
  const bad = await run("retain", "submit", "bad.ndjson", ...how);
  expect(bad.code).toBe(1);
  const { id, state } = bad.json<{ id: string; state: string }>();
  expect(state).toBe("failed");
  const items = await run("operation", "items", id, "--outcome", "failed");
  expect(items.out).toContain("poisoned");
  expect((await run("operation", "logs", id, "--follow")).out).toContain("failed");
}, 60_000);

test("what is retained in it can be searched, with nothing installed by hand", async () => {
  await writeFile(join(folder, "found.ndjson"), '{"content":"Uruk traded copper with Dilmun."}\n');
  expect((await run("retain", "submit", "found.ndjson", "--bank", "b", "--wait")).code).toBe(0);
  await until(
    async () =>
      (await run("search", "query", "copper", "--lookup", "words")).out.includes("Dilmun"),
    30_000,
    () => "what was retained is not found",
  );
  const status = await run("search", "status");
  expect(status.out).not.toMatch(/install|never built/);
}, 60_000);

test("its API and console answer on loopback without a key", async () => {
  const response = await fetch(`${addresses.consoleUrl}/v1/operations`);
  expect(response.status).toBe(200);
  expect(new URL(addresses.consoleUrl).hostname).toBe("127.0.0.1");
});

test("a second one says that it runs, where, and ends with 3", async () => {
  const second = await run("dev");
  expect(second.code).toBe(3);
  expect(second.out).toContain(`process ${addresses.pid}`);
  for (const address of [addresses.consoleUrl, addresses.databaseUrl, addresses.temporalAddress]) {
    expect(second.out).toContain(address);
  }
  const asJson = await run("dev", "--json");
  expect(asJson.json()).toEqual(addresses);
});

test("a worker that is killed is replaced, and said", async () => {
  const [before] = pids(await run("worker", "--check"));
  process.kill(before!, "SIGKILL");
  const replaced = async () =>
    pids(await run("worker", "--check")).some((pid) => pid !== before && processIdentity(pid));
  await until(replaced, 30_000, () => "no other worker came");
  expect(said.join("\n")).toContain("the worker ended (SIGKILL); starting another");
}, 60_000);

test("Ctrl-C stops worker, server, Temporal and Postgres, in order and without a trace", async () => {
  const workers = pids(await run("worker", "--check")).filter((pid) => processIdentity(pid));
  dev.kill("SIGINT");
  const [code] = await once(dev, "exit");
  expect(code).toBe(0);
  for (const pid of workers) expect(processIdentity(pid)).toBeUndefined();
  await expect(fetch(addresses.consoleUrl)).rejects.toThrow();
  const after = await run("operation", "list");
  expect(after.err).toMatch(/DATABASE_URL: is not set/);
}, 60_000);
