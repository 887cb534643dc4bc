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
    "drain-index.json",
    "drain-reconcile.json",
    "drain-target.json",
    "job-cancelled.json",
    "job-collected.json",
    "job-collector-refused.json",
    "job-empty.json",
    "job-paused-and-resumed.json",
    "job-processed.json",
    "job-pulled-with-errors.json",
    "job-pulled.json",
    "plan-approved.json",
    "plan-cancelled.json",
    "plan-expired.json",
    "plan-in-parts.json",
    "plan-rejected.json",
    "range-of-a-batch.json",
    "ranged-adopted.json",
    "ranged-cancelled.json",
    "ranged-completed.json",
    "ranged-deferred.json",
    "ranged-failed.json",
    "reindex-cancelled.json",
    "reindex-completed.json",
    "reindex-paused-and-resumed.json",
    "review-ranged.json",
    "review-small.json",
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
  // The drain begins by waiting a moment; this history begins with an activity.
  const diverged = await recorded("small-completed");
  const [started] = eventsOf(diverged);
  started!.workflowExecutionStartedEventAttributes!.workflowType = { name: "consolidate" };
  const [answer] = await replay([diverged]);
  const scheduled = eventsOf(diverged).find((event) => event.activityTaskScheduledEventAttributes);
  expect(answer).toMatchObject({
    workflowId: diverged.workflowId,
    ok: false,
    event: Number(scheduled!.eventId),
  });
});

test("a history in which something else was asked for is refused, with the difference", async () => {
  const diverged = await recorded("ranged-completed");
  const asked = eventsOf(diverged).find(
    (event) => event.startChildWorkflowExecutionInitiatedEventAttributes,
  );
  asked!.startChildWorkflowExecutionInitiatedEventAttributes!.workflowType = { name: "another" };
  const [answer] = await replay([diverged]);
  expect(answer).toMatchObject({ ok: false, event: Number(asked!.eventId) });
  expect(answer!.difference).toMatch(/another.*retainRange/);
});

const eventsOf = ({ history }: HistoryAndWorkflowId) => (history as History).events!;

async function recorded(name: string): Promise<HistoryAndWorkflowId> {
  return (await readHistories(join(FOLDER, `${name}.json`)))![0]!;
}

async function replay(some: HistoryAndWorkflowId[]): Promise<Replayed[]> {
  const replayed: Replayed[] = [];
  for await (const one of replayHistories({ code, histories: some })) replayed.push(one);
  return replayed;
}
