import { setTimeout as sleep } from "node:timers/promises";
import { connect, type Holdfast, type HoldfastConfig } from "../client/index.ts";
import { spawnWorker, type WorkerProcess } from "../dev/spawn-worker.ts";
import type { Stack } from "../dev/stack.ts";
import type { Frame } from "./frame.ts";

/** A stack, a client, and workers as processes of their own, as they run in production. */
export interface Scene {
  readonly stack: Stack;
  readonly databaseUrl: string;
  readonly holdfast: Holdfast;
  /** One more worker; resolves when it asks for work. */
  startWorker(): Promise<WorkerProcess>;
  /** Hands over a batch of documents and answers the operation's id. */
  submit(bank: string, contents: readonly string[]): Promise<string>;
  /** Waits until the operation has ended well. Throws when it ended otherwise. */
  completed(operationId: string): Promise<void>;
}

/**
 * Each scene has its own servers, so that no queue of another one is worked in it. What is plugged in
 * is given with the path of the file that says the same to workers.
 */
export async function openScene(
  frame: Frame,
  plugged?: { config: HoldfastConfig; path: string },
): Promise<Scene> {
  const stack = await frame.stack();
  const databaseUrl = await frame.database(stack);
  const holdfast = connect({ databaseUrl, ...(plugged && { config: plugged.config }) });
  frame.atEnd(() => holdfast.close());
  return {
    stack,
    databaseUrl,
    holdfast,
    async startWorker() {
      const { temporalAddress, namespace } = stack;
      const worker = await spawnWorker({
        databaseUrl,
        temporalAddress,
        namespace,
        ...(plugged && { config: plugged.path }),
      });
      frame.atEnd(() => worker.send("SIGTERM"));
      await worker.ready;
      return worker;
    },
    async submit(bank, contents) {
      const items = contents.map((content, index) => ({
        documentId: `document-${index}`,
        content,
      }));
      return (await holdfast.retain.submit({ bank, items })).id;
    },
    completed: (operationId) => completed(holdfast, operationId),
  };
}

const POLL_MS = 25;

// The row itself, because a view of it counts everything each time.
async function completed({ db }: Holdfast, operationId: string): Promise<void> {
  for (;;) {
    const { rows } = await db.query<{ state: string; reason: string | null }>(
      "select state, reason from holdfast.operations where id = $1",
      [operationId],
    );
    const { state, reason } = rows[0]!;
    if (state === "completed") return;
    if (state === "failed" || state === "cancelled") {
      throw new Error(`operation ${operationId} ended ${state}: ${reason}`);
    }
    await sleep(POLL_MS);
  }
}

/** Waits until what batches left to the drains is done. */
export async function consolidated({ db }: Holdfast): Promise<void> {
  for (;;) {
    const { rows } = await db.query("select from holdfast.marks limit 1");
    if (rows.length === 0) return;
    await sleep(POLL_MS * 4);
  }
}
