import { Client, Connection } from "@temporalio/client";
import { v7 as uuidv7 } from "uuid";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { fairnessKey, startOperationWorkflow } from "../../activities/start-operation.ts";
import { operationWorkflowId } from "../../contracts/ids.ts";

let connection: Connection;
let client: Client;

beforeAll(async () => {
  connection = await Connection.connect({ address: inject("temporalAddress") });
  client = new Client({ connection });
});
afterAll(() => connection.close());

const KEYWORD = 2;

/** A new namespace is known to every part of the server a few seconds after it is registered. */
async function poll<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (tries === 60) throw error;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
}

function row() {
  return {
    kind: "retain",
    id: uuidv7(),
    tenant: "acme",
    scope: "b".repeat(300),
    generation: 1,
    total: 1_000,
    priority: 2,
    trace: null,
  };
}

test("an operation has one open workflow however often it is started, and may start again when it closed", async () => {
  const operation = row();
  const answers = await Promise.all(
    Array.from({ length: 5 }, () => startOperationWorkflow(client, operation)),
  );
  expect(answers.toSorted()).toEqual(["already", "already", "already", "already", "started"]);

  const handle = client.workflow.getHandle(operationWorkflowId(operation));
  const described = await handle.describe();
  expect(described.status.name).toBe("RUNNING");
  expect(described.type).toBe("retainBatch");
  expect(described.priority?.priorityKey).toBe(2);
  expect(await described.staticSummary()).toMatch(/^retain 1,000 items into bank b/);

  await handle.terminate("the test closes it");
  await expect(startOperationWorkflow(client, operation)).resolves.toBe("started");
  await handle.terminate("the test is over");
});

test("a fairness key tells scopes apart within the 64 bytes Temporal takes", () => {
  expect(fairnessKey("acme", "bank")).toBe("acme/bank");
  const long = ["ä".repeat(100), `${"ä".repeat(100)}b`].map((scope) =>
    fairnessKey("a".repeat(100), scope),
  );
  expect(new Set(long).size).toBe(2);
  for (const key of long) expect(Buffer.byteLength(key)).toBeLessThanOrEqual(64);
});

test("a namespace that has our search attributes gets them with each start", async () => {
  const namespace = `start-${uuidv7()}`;
  await connection.workflowService.registerNamespace({
    namespace,
    workflowExecutionRetentionPeriod: { seconds: 86_400 as never },
  });
  const there = new Client({ connection, namespace });
  await poll(() =>
    connection.operatorService.addSearchAttributes({
      namespace,
      searchAttributes: { HoldfastTenant: KEYWORD, HoldfastScope: KEYWORD },
    }),
  );
  const operation = row();
  await poll(() => startOperationWorkflow(there, operation));
  const handle = there.workflow.getHandle(operationWorkflowId(operation));
  const described = await handle.describe();
  const attributes = described.typedSearchAttributes
    .getAll()
    .map(({ key, value }) => [key.name, value]);
  expect(Object.fromEntries(attributes)).toMatchObject({
    HoldfastTenant: "acme",
    HoldfastScope: "b".repeat(255),
  });
  await connection.operatorService.removeSearchAttributes({
    namespace,
    searchAttributes: ["HoldfastTenant"],
  });
  // The client still believes in the attribute that is gone.
  await expect(startOperationWorkflow(there, row())).resolves.toBe("started");
});

test("a start is refused when Temporal cannot be reached, for the caller to come again", async () => {
  const begun = Date.now();
  const lost = Connection.lazy({ address: "127.0.0.1:1", connectTimeout: 500 });
  await expect(startOperationWorkflow(new Client({ connection: lost }), row())).rejects.toThrow();
  expect(Date.now() - begun).toBeLessThan(9_000);
  await lost.close();
});
