import { randomBytes } from "node:crypto";
import { Client, Connection } from "@temporalio/client";
import { inject, onTestFinished } from "vitest";

/** A client in a Temporal namespace of the test's own. `closes` takes what ends it. */
export async function testNamespace(
  closes: (close: () => Promise<void>) => unknown = onTestFinished,
): Promise<Client> {
  const connection = await Connection.connect({ address: inject("temporalAddress") });
  closes(() => connection.close());
  const namespace = `test-${process.pid}-${randomBytes(4).toString("hex")}`;
  await connection.workflowService.registerNamespace({
    namespace,
    workflowExecutionRetentionPeriod: { seconds: 86_400 as never },
  });
  const client = new Client({ connection, namespace });
  // Each part of the server learns of a new namespace on its own.
  for (let tries = 0; ; tries++) {
    try {
      await client.workflowService.describeNamespace({ namespace });
      await client.workflow.count();
      return client;
    } catch (error) {
      if (tries === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
