import { inject, onTestFailed } from "vitest";
import { spawnWorker, type WorkerProcess } from "../../dev/spawn-worker.ts";
import { listening, type Listening } from "../server/listening.ts";
import { testNamespace } from "../support/namespace.ts";

export interface Served extends Listening {
  worker: WorkerProcess;
}

/** Server and worker over a database and a namespace of their own, as an installation has them. */
export async function servedProduct(config?: string): Promise<Served> {
  const closes: (() => Promise<void>)[] = [];
  const server = await listening(config === undefined ? {} : { HOLDFAST_CONFIG: config });
  closes.push(async () => server[Symbol.asyncDispose]());
  onTestFailed(() => {
    const trouble = server.logged.filter(({ level }) => level >= 40);
    console.error(trouble.map((line) => JSON.stringify(line)).join("\n"));
  });
  const stop = async () => {
    for (const close of closes.toReversed()) await close();
  };
  try {
    const { options } = await testNamespace((close) => closes.push(async () => close()));
    const worker = await spawnWorker({
      databaseUrl: server.databaseUrl,
      temporalAddress: inject("temporalAddress"),
      namespace: options.namespace,
      ...(config === undefined ? {} : { config }),
    });
    closes.push(() => worker.send("SIGKILL"));
    await worker.ready;
    return { ...server, worker, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
