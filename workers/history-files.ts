import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Client, HistoryAndWorkflowId } from "@temporalio/client";
import { historyFromJSON, historyToJSON } from "@temporalio/common/lib/proto-utils.js";
import { InvalidInput } from "../contracts/errors.ts";

/** Histories in files, as `temporal workflow show --output json` writes them too. */

/**
 * Saves the history of a workflow. The JSON of `fetchHistory()` itself cannot be read back: its
 * numbers and enums have another form.
 */
export async function recordHistory(
  client: Client,
  workflow: { workflowId: string; runId?: string },
  file: string,
): Promise<void> {
  const history = await client.workflow
    .getHandle(workflow.workflowId, workflow.runId)
    .fetchHistory();
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${historyToJSON(history)}\n`);
}

/**
 * Reads a file, or all `*.json` of a folder in order of their names. Undefined: there is no such path.
 * @throws InvalidInput naming the file that is no history
 */
export async function readHistories(path: string): Promise<HistoryAndWorkflowId[] | undefined> {
  const found = await stat(path).catch(() => undefined);
  if (!found) return undefined;
  if (!found.isDirectory()) return [await readHistory(path)];
  const names = (await readdir(path)).filter((name) => name.endsWith(".json")).toSorted();
  if (names.length === 0) {
    throw new InvalidInput([{ path, message: "holds no *.json, so there is nothing to replay" }]);
  }
  return Promise.all(names.map((name) => readHistory(join(path, name))));
}

async function readHistory(file: string): Promise<HistoryAndWorkflowId> {
  try {
    const history = historyFromJSON(JSON.parse(await readFile(file, "utf8")));
    const started = history.events?.[0]?.workflowExecutionStartedEventAttributes;
    if (!started) throw new Error("its first event is not the start of a workflow");
    return { workflowId: started.workflowId || file, history };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const how = 'write one with "temporal workflow show --workflow-id <id> --output json"';
    throw new InvalidInput([{ path: file, message: `is no workflow history (${why}): ${how}` }]);
  }
}
