import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { HistoryAndWorkflowId } from "@temporalio/client";
import type { History } from "@temporalio/common/lib/proto-utils.js";
import { beforeAll, expect, test } from "vitest";
import { workflowBundle } from "../../dev/workflow-bundle.ts";
import { readHistories } from "../../workers/history-files.ts";
import {
  quietRuntime,
  replayHistories,
  type Replayed,
  type WorkflowCode,
} from "../../workers/replay.ts";

const FOLDER = fileURLToPath(new URL("histories/", import.meta.url));
/** They are read in reviews and kept for good. */
const MOST_BYTES = 200_000;

let code: WorkflowCode;
let histories: HistoryAndWorkflowId[];
beforeAll(async () => {
  quietRuntime();
  code = { workflowBundle: { codePath: await workflowBundle() } };
  histories = (await readHistories(FOLDER))!;
}, 120_000);

test("every recorded history is gone through by this version, without a server", async () => {
  const replayed = await replay(histories);
  expect(replayed.filter(({ ok }) => !ok)).toEqual([]);
  expect(replayed).toHaveLength(histories.length);
});

test("the histories hold each way a workflow can go, and are small", async () => {
  const names = await readdir(FOLDER);
  expect(names.toSorted()).toEqual([
    "doctor-examination.json",
    "drain-consolidate.json",
    "range-of-a-batch.json",
    "ranged-adopted.json",
    "ranged-cancelled.json",
    "ranged-completed.json",
    "ranged-deferred.json",
    "ranged-failed.json",
    "small-cancelled.json",
    "small-completed.json",
    "small-deferred.json",
    "small-failed.json",
    "small-paused-and-resumed.json",
  ]);
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(FOLDER, name))).size));
  expect(Math.max(...sizes)).toBeLessThan(MOST_BYTES);
});

test("a history that this version would not have made is refused, with the place", async () => {
  const [diverged] = (await readHistories(join(FOLDER, "ranged-completed.json"))) as [
    HistoryAndWorkflowId,
  ];
  const { events } = diverged.history as History;
  const place = events!.findIndex(
    (event) => event.startChildWorkflowExecutionInitiatedEventAttributes,
  );
  events![place]!.startChildWorkflowExecutionInitiatedEventAttributes!.workflowType = {
    name: "anotherWorkflow",
  };
  const [answer] = await replay([diverged]);
  expect(answer).toMatchObject({ ok: false, event: Number(events![place]!.eventId) });
  expect(answer!.difference).toContain("anotherWorkflow");
});

test("a history whose first activity has another name is refused", async () => {
  const [diverged] = (await readHistories(join(FOLDER, "small-completed.json"))) as [
    HistoryAndWorkflowId,
  ];
  const scheduled = (diverged.history as History).events!.find(
    (event) => event.activityTaskScheduledEventAttributes,
  );
  scheduled!.activityTaskScheduledEventAttributes!.activityType = { name: "retainHalf" };
  const [answer] = await replay([diverged]);
  expect(answer).toMatchObject({ ok: false });
  expect(answer!.difference).toContain("retainHalf");
});

async function replay(some: HistoryAndWorkflowId[]): Promise<Replayed[]> {
  const replayed: Replayed[] = [];
  for await (const one of replayHistories({ code, histories: some })) replayed.push(one);
  return replayed;
}
