import { pino } from "pino";
import { expect, inject, onTestFinished, test } from "vitest";
import { defineProcessor } from "../../contracts/config.ts";
import { until } from "../../dev/until.ts";
import { workflowBundle } from "../../dev/workflow-bundle.ts";
import { connect } from "../../client/index.ts";
import { quietRuntime } from "../../workers/replay.ts";
import { runWorker } from "../../workers/worker.ts";
import { testDatabase } from "../support/database.ts";
import { testNamespace } from "../support/namespace.ts";

test(
  "jobs whose batches take hours leave room for everything else",
  { timeout: 120_000 },
  async () => {
    quietRuntime();
    const { url, drop } = await testDatabase();
    onTestFinished(drop);
    const client = await testNamespace();
    let atWork = 0;
    const process = (_: unknown, { signal }: { signal: AbortSignal }) => {
      atWork++;
      return new Promise<never>((_resolve, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason as Error)),
      );
    };
    const config = { jobs: { processors: { slow: defineProcessor({ process }) } } };
    const stop = new AbortController();
    const running = runWorker({
      databaseUrl: url,
      poolSize: 6,
      temporalAddress: inject("temporalAddress"),
      namespace: client.options.namespace,
      config,
      log: pino({ level: "silent" }),
      workflowBundle: { codePath: await workflowBundle() },
      signal: stop.signal,
    });
    onTestFinished(async () => {
      stop.abort();
      await running;
    });
    const holdfast = connect({ databaseUrl: url, poolSize: 2, config });
    onTestFinished(() => holdfast.close());
    const items = Array.from({ length: 8 }, (_, n) => ({ payload: n }));
    const job = { pipeline: "slow", items, options: { batchSize: 1 } };
    const jobs = [await holdfast.job.submit(job), await holdfast.job.submit(job)];
    await until(
      async () => atWork > 0 && (await holdfast.job.get(jobs[1]!.id)).state === "running",
      60_000,
      () => "no batch is at work",
    );

    const { id } = await holdfast.retain.submit({ bank: "b", items: [{ content: "It goes on." }] });
    await until(
      async () => (await holdfast.operation.get(id)).state === "completed",
      30_000,
      () => "pages wait behind lanes of jobs",
    );

    expect(atWork).toBeGreaterThan(0);
    for (const job of jobs) await holdfast.job.cancel(job.id);
  },
);
