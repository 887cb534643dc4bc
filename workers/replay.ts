import type { History } from "@temporalio/common/lib/proto-utils.js";
import {
  DefaultLogger,
  Runtime,
  Worker,
  type ReplayResult,
  type WorkflowBundleOption,
} from "@temporalio/worker";
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
  const replayer = new Replayer(options.code);
  try {
    for await (const one of options.histories) {
      const { runId, error } = await replayer.run(one);
      const { workflowId } = one;
      if (!error) yield { workflowId, runId, ok: true };
      else yield { workflowId, runId, ok: false, ...(await replayer.differenceOf(one, error)) };
    }
  } finally {
    await replayer.close();
  }
}

/** One worker that replays what it is given, one after the other. */
class Replayer {
  readonly #results: AsyncIterableIterator<ReplayResult>;
  #next: HistoryAndWorkflowId | undefined;

  constructor(code: WorkflowCode) {
    const options = { ...code, replayName: "holdfast-replay" };
    this.#results = Worker.runReplayHistories(options, this.#given());
  }

  // The SDK asks for a history when it is asked for the next result, and not before.
  async *#given(): AsyncGenerator<HistoryAndWorkflowId> {
    while (this.#next) yield this.#next;
  }

  async run(one: HistoryAndWorkflowId): Promise<ReplayResult> {
    this.#next = one;
    const { done, value } = await this.#results.next();
    if (done) throw new Error("the replay worker has ended");
    return value;
  }

  async differenceOf(
    one: HistoryAndWorkflowId,
    { message }: Error,
  ): Promise<Pick<Replayed, "event" | "difference">> {
    const sentence = SENTENCE.exec(message)?.[1];
    const difference = (sentence ?? message).replaceAll("\\", "").replaceAll(/\s+/g, " ").trim();
    const named = EVENT.exec(difference)?.slice(1).find(Boolean);
    const event = named === undefined ? sentence && (await this.#whereItParts(one)) : Number(named);
    return { ...(event ? { event } : {}), difference };
  }

  /**
   * The SDK names no event when a command is of the right kind and otherwise another: there it is the
   * last of the shortest beginning of the history that differs, found by halving.
   */
  async #whereItParts(one: HistoryAndWorkflowId): Promise<number | undefined> {
    const { events } = one.history as History;
    if (!events) return undefined;
    // Only events that a command made: a beginning that ends with one is whole, as the SDK sees it.
    const ends = events.flatMap((event, index) => (isOfCommand(event) ? [index + 1] : []));
    let [from, to] = [0, ends.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      const beginning = { ...one, history: { events: events.slice(0, ends[middle]) } };
      if ((await this.run(beginning)).error) to = middle;
      else from = middle + 1;
    }
    return from === ends.length ? undefined : Number(events[ends[from]! - 1]!.eventId);
  }

  async close(): Promise<void> {
    await this.#results.return?.();
  }
}

function isOfCommand(event: object): boolean {
  return Object.values(event).some(
    (attributes: unknown) =>
      typeof attributes === "object" &&
      attributes !== null &&
      "workflowTaskCompletedEventId" in attributes &&
      Number(attributes.workflowTaskCompletedEventId) > 0,
  );
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
