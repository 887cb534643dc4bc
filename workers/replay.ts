import { DefaultLogger, Runtime, Worker, type WorkflowBundleOption } from "@temporalio/worker";
import { isGrpcServiceError, type Client, type HistoryAndWorkflowId } from "@temporalio/client";
import { InvalidInput, Unavailable } from "../contracts/errors.ts";

/** Runs recorded histories through workflow code, without a server: would it still decide the same? */

export interface Replayed {
  workflowId: string;
  runId: string;
  ok: boolean;
  /** Where the code and the history part; absent when the code cannot even begin. */
  event?: number;
  /** What differs, in one line. */
  difference?: string;
}

export type WorkflowCode = { workflowBundle: WorkflowBundleOption } | { workflowsPath: string };

/** Replays one history after the other and says of each how it went. */
export async function* replayHistories(options: {
  code: WorkflowCode;
  histories: AsyncIterable<HistoryAndWorkflowId> | Iterable<HistoryAndWorkflowId>;
}): AsyncGenerator<Replayed> {
  const results = Worker.runReplayHistories(
    { ...options.code, replayName: "holdfast-replay" },
    options.histories,
  );
  for await (const { workflowId, runId, error } of results) {
    yield { workflowId, runId, ok: error === undefined, ...(error && differenceOf(error)) };
  }
}

/** For a process that only replays: without it the SDK prints a page for each divergence. */
export function quietRuntime(): void {
  Runtime.install({
    logger: new DefaultLogger("ERROR", () => undefined),
    telemetryOptions: { logging: { filter: "OFF", forward: {} } },
  });
}

// The core tells what differs in one sentence within nested debug output.
const SENTENCE = /Nondeterminism error: (.*?)(?:", source:|", stack_trace|"\)|$)/s;
const EVENT = /HistoryEvent\(id: (\d+)|event_id:? ?(\d+)|\bevent (\d+)/i;

function differenceOf({ message }: Error): Pick<Replayed, "event" | "difference"> {
  const sentence = SENTENCE.exec(message)?.[1] ?? message;
  const event = EVENT.exec(sentence)?.slice(1).find(Boolean);
  return {
    ...(event === undefined ? {} : { event: Number(event) }),
    difference: sentence.replaceAll("\\", "").replaceAll(/\s+/g, " ").trim(),
  };
}

/** @throws InvalidInput when Temporal knows no such workflow, Unavailable */
export async function fetchHistory(
  client: Client,
  workflowId: string,
): Promise<HistoryAndWorkflowId> {
  try {
    const history = await client.workflow.getHandle(workflowId).fetchHistory();
    return { workflowId, history };
  } catch (error) {
    if (grpcCode(error) !== NOT_FOUND) throw awayOr(error);
    throw new InvalidInput([
      {
        path: workflowId,
        message: `is neither a file nor a workflow in namespace ${client.options.namespace}`,
      },
    ]);
  }
}

/**
 * Histories of the workflows a visibility query finds, at most `limit`.
 * @throws InvalidInput when Temporal cannot read the query, Unavailable
 */
export async function* queryHistories(
  client: Client,
  query: string,
  limit: number,
): AsyncGenerator<HistoryAndWorkflowId> {
  let n = 0;
  try {
    for await (const found of client.workflow.list({ query }).intoHistories({ concurrency: 4 })) {
      yield found;
      if (++n === limit) return;
    }
  } catch (error) {
    const cause = error instanceof Error && error.cause ? error.cause : error;
    if (grpcCode(cause) !== INVALID_ARGUMENT) throw awayOr(cause);
    const message = `Temporal refuses it: ${(cause as Error).message}`;
    throw new InvalidInput([{ path: "--query", message }]);
  }
}

const INVALID_ARGUMENT = 3;
const NOT_FOUND = 5;
const UNAVAILABLE = 14;

function awayOr(error: unknown): unknown {
  if (grpcCode(error) !== UNAVAILABLE) return error;
  return new Unavailable("Temporal", "cannot reach Temporal: check TEMPORAL_ADDRESS", error);
}

function grpcCode(error: unknown): number | undefined {
  return isGrpcServiceError(error) ? error.code : undefined;
}
