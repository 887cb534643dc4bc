import type { Command } from "commander";
import type { HistoryAndWorkflowId } from "@temporalio/client";
import { InvalidInput } from "../contracts/errors.ts";
import type { Replayed } from "../workers/replay.ts";
import { settings } from "./connection.ts";
import { examples, JSON_FLAG, wholeNumber } from "./declare.ts";
import { Ended, EXIT } from "./failure.ts";
import { note, paint, printJson, say, text } from "./output.ts";

const MOST_REPLAYED = 1_000;

export function register(program: Command): void {
  const replay = program
    .command("replay [workflow]")
    .description("run histories through this version's workflows: would they decide the same?")
    .addHelpText("after", "\n<workflow> is a workflow id, a history in JSON, or a folder of them.")
    .option("--query <query>", "the workflows a visibility query finds")
    .option("--limit <n>", "of a query, replay at most so many", wholeNumber, MOST_REPLAYED)
    .option(...JSON_FLAG);
  examples(
    replay,
    "holdfast replay retain/default/0192f0c1-5d0e-7c3a-9d5e-1b2c3d4e5f60/1",
    "holdfast replay test/replay/histories",
    `holdfast replay --query 'WorkflowType = "retainBatch" and StartTime > "2026-11-01T00:00:00Z"'`,
  ).action(run);
}

interface Options {
  query?: string;
  limit: number;
  json?: boolean;
}

async function run(target: string | undefined, { query, limit, json }: Options): Promise<void> {
  if ((target === undefined) === (query === undefined)) {
    const message = "name one workflow id, file or folder, or give --query";
    throw new InvalidInput([{ path: "workflow", message }]);
  }
  if (limit < 1) throw new InvalidInput([{ path: "--limit", message: "must be 1 or more" }]);
  const source = target === undefined ? await ofQuery(query!, limit) : await ofTarget(target);
  const replayed: Replayed[] = [];
  try {
    const { quietRuntime, replayHistories } = await import("../workers/replay.ts");
    const { currentWorkflowCode } = await import("../workers/workflow-code.ts");
    quietRuntime();
    const { histories } = source;
    for await (const one of replayHistories({ code: currentWorkflowCode(), histories })) {
      replayed.push(one);
      if (!json) print(one);
    }
  } finally {
    await source.close();
  }
  const diverged = replayed.filter(({ ok }) => !ok).length;
  if (json) printJson({ replayed: replayed.length, diverged, workflows: replayed });
  else note(`${replayed.length} replayed, ${diverged} diverged`);
  if (diverged > 0) throw new Ended(EXIT.failed);
}

function print({ workflowId, ok, event, difference }: Replayed): void {
  if (ok) return say(`${paint("green", "ok")}  ${text(workflowId)}`);
  say(`${paint("red", "diverged")}  ${text(workflowId)}`);
  say(`  ${event === undefined ? "" : `at event ${event}: `}${text(difference)}`);
}

interface Source {
  histories: Iterable<HistoryAndWorkflowId> | AsyncIterable<HistoryAndWorkflowId>;
  close(): Promise<void>;
}

async function ofTarget(target: string): Promise<Source> {
  const { readHistories } = await import("../workers/history-files.ts");
  const histories = await readHistories(target);
  if (histories) return { histories, close: () => Promise.resolve() };
  if (target.endsWith(".json") || /^[./~]/.test(target)) {
    throw new InvalidInput([{ path: target, message: "there is no such file or folder" }]);
  }
  const { client, close } = await temporal();
  const { fetchHistory } = await import("../workers/replay.ts");
  try {
    return { histories: [await fetchHistory(client, target)], close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function ofQuery(query: string, limit: number): Promise<Source> {
  const { client, close } = await temporal();
  const { queryHistories } = await import("../workers/replay.ts");
  return { histories: queryHistories(client, query, limit), close };
}

async function temporal() {
  const { TEMPORAL_ADDRESS: address, TEMPORAL_NAMESPACE: namespace } = await settings();
  const { lazyClient } = await import("../workers/temporal-client.ts");
  return lazyClient({ address, namespace });
}
