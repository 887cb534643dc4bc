import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client, Connection } from "@temporalio/client";
import type { History } from "@temporalio/common/lib/proto-utils.js";
import { bundleWorkflowCode, DefaultLogger, NativeConnection, Worker } from "@temporalio/worker";
import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { readHistories, recordHistory } from "../../workers/history-files.ts";
import {
  fetchHistory,
  queryHistories,
  quietRuntime,
  replayHistories,
} from "../../workers/replay.ts";
import { currentWorkflowCode } from "../../workers/workflow-code.ts";

const workflowId = `nap-${uuidv7()}`;
const countId = `count-${uuidv7()}`;
let connection: Connection;
let client: Client;
let folder: string;
let same: { workflowBundle: { code: string } };
let changed: { workflowBundle: { code: string } };

quietRuntime();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-replay-"));
  connection = await Connection.connect({ address: inject("temporalAddress") });
  client = new Client({ connection });
  same = await bundle("./replay-fixture.ts");
  changed = await bundle("./replay-changed-fixture.ts");
  const native = await NativeConnection.connect({ address: inject("temporalAddress") });
  const taskQueue = workflowId;
  const activities = { count: async (n: number) => n };
  const worker = await Worker.create({ connection: native, taskQueue, activities, ...same });
  await worker.runUntil(async () => {
    await client.workflow.execute("nap", { workflowId, taskQueue, staticSummary: "a nap" });
    await client.workflow.execute("countTwice", { workflowId: countId, taskQueue });
  });
  await native.close();
  await recordHistory(client, { workflowId }, join(folder, "nap.json"));
});
afterAll(async () => {
  await connection.close();
  await rm(folder, { recursive: true });
});

async function bundle(file: string) {
  const workflowsPath = fileURLToPath(new URL(file, import.meta.url));
  const logger = new DefaultLogger("ERROR");
  return { workflowBundle: await bundleWorkflowCode({ workflowsPath, logger }) };
}

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const value of values) collected.push(value);
  return collected;
}

test("a recorded history is read back, and the code that made it replays it", async () => {
  const histories = (await readHistories(folder))!;
  expect(histories.map((one) => one.workflowId)).toEqual([workflowId]);
  const [replayed, ...rest] = await all(replayHistories({ code: same, histories }));
  expect(replayed).toMatchObject({ workflowId, ok: true });
  expect(rest).toEqual([]);
});

test("other code diverges, and the replay says at which event and what differs", async () => {
  const histories = (await readHistories(join(folder, "nap.json")))!;
  const [replayed] = await all(replayHistories({ code: changed, histories }));
  expect(replayed).toMatchObject({ workflowId, ok: false, event: 5 });
  expect(replayed!.difference).toMatch(/TimerStarted/);
  expect(replayed!.difference).not.toMatch(/\n|\\|Failure \{/);
});

test("where only the type of a command differs, the replay finds the very event among its like", async () => {
  const counted = await fetchHistory(client, countId);
  const { events } = counted.history as History;
  const scheduled = events!.filter((event) => event.activityTaskScheduledEventAttributes);
  expect(scheduled).toHaveLength(6);
  const replayed = await all(
    replayHistories({ code: changed, histories: [counted, ...(await readHistories(folder))!] }),
  );
  expect(replayed).toMatchObject([
    { workflowId: countId, ok: false, event: Number(scheduled[4]!.eventId) },
    { workflowId, ok: false, event: 5 },
  ]);
  expect(replayed[0]!.difference).toMatch(/'count' does not match .*'recount'$/);
});

test("code that does not know the workflow says so", async () => {
  const histories = (await readHistories(join(folder, "nap.json")))!;
  const [replayed] = await all(replayHistories({ code: currentWorkflowCode(), histories }));
  expect(replayed).toMatchObject({ ok: false });
  expect(replayed!.event).toBeUndefined();
  expect(replayed!.difference).toMatch(/nap/);
});

test("histories come from Temporal by id and by query", async () => {
  const byId = [await fetchHistory(client, workflowId)];
  expect(await all(replayHistories({ code: same, histories: byId }))).toMatchObject([{ ok: true }]);
  const found = queryHistories(client, `WorkflowId = "${workflowId}"`, 10);
  expect(await all(replayHistories({ code: same, histories: found }))).toMatchObject([
    { workflowId, ok: true },
  ]);
  await expect(fetchHistory(client, "no-such-workflow")).rejects.toThrow(
    "no-such-workflow: is neither a file nor a workflow in namespace default",
  );
  await expect(all(queryHistories(client, "no such field = 1", 10))).rejects.toThrow(
    /^--query: Temporal refuses it: /,
  );
});

test("what is no history is refused with its file and how to write one", async () => {
  const file = join(folder, "other", "raw.json");
  await recordHistory(client, { workflowId }, file); // makes the folder
  const raw = await client.workflow.getHandle(workflowId).fetchHistory();
  for (const content of [JSON.stringify(raw), "{}", "not json", '{"events":[]}']) {
    await writeFile(file, content);
    await expect(readHistories(file)).rejects.toThrow(
      /raw\.json: is no workflow history .*--output json/,
    );
  }
  await rm(file);
  await expect(readHistories(join(folder, "other"))).rejects.toThrow(/holds no \*\.json/);
  await expect(readHistories(file)).resolves.toBeUndefined();
});
