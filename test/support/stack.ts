import type { TestProject } from "vitest/node";
import { startStack } from "../../dev/stack.ts";
import { makeTemplate } from "./template.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Of the server's own database; tests take one of theirs from `testDatabase()`. */
    databaseUrl: string;
    temporalAddress: string;
    /** Name of the migrated database that test databases are copies of. */
    templateDatabase: string;
  }
}

/**
 * One Postgres and one Temporal for the whole run. Servers that already run are used when
 * HOLDFAST_TEST_DATABASE_URL and HOLDFAST_TEST_TEMPORAL_ADDRESS are set; what is set for the
 * application (DATABASE_URL, TEMPORAL_ADDRESS) is never used for tests.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { HOLDFAST_TEST_DATABASE_URL, HOLDFAST_TEST_TEMPORAL_ADDRESS, ...environment } =
    process.env;
  for (const name of ["DATABASE_URL", "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"])
    delete environment[name];
  const stack = await startStack({
    durability: "fast",
    environment: {
      ...environment,
      ...(HOLDFAST_TEST_DATABASE_URL && { DATABASE_URL: HOLDFAST_TEST_DATABASE_URL }),
      ...(HOLDFAST_TEST_TEMPORAL_ADDRESS && { TEMPORAL_ADDRESS: HOLDFAST_TEST_TEMPORAL_ADDRESS }),
    },
  });
  try {
    project.provide("databaseUrl", stack.databaseUrl);
    project.provide("temporalAddress", stack.temporalAddress);
    project.provide("templateDatabase", await makeTemplate(stack.databaseUrl));
  } catch (error) {
    await stack.stop();
    throw error;
  }
  return stack.stop;
}
