import type { Client } from "@temporalio/client";
import { Conflict } from "../contracts/errors.ts";

/**
 * Whose workflows a Temporal namespace holds. Ids and task queues are the same in every installation,
 * so two databases in one namespace would take each other's tasks and end each other's workflows. The
 * doctor's schedule carries the id of the database it belongs to, and everybody looks at it first.
 */

export const DOCTOR_SCHEDULE = "holdfast-doctor";
export const OWNER_MEMO = "installation";

/** The installation a namespace belongs to; undefined: nobody's yet. */
async function ownerOf(client: Client): Promise<string | undefined> {
  try {
    const { memo } = await client.schedule.getHandle(DOCTOR_SCHEDULE).describe();
    return memo?.[OWNER_MEMO] as string | undefined;
  } catch (error) {
    if (error instanceof Error && error.name === "ScheduleNotFoundError") return undefined;
    throw error;
  }
}

/** @throws Conflict when the namespace belongs to another database */
export async function assertOwned(client: Client, installation: string): Promise<void> {
  const owner = await ownerOf(client);
  if (owner === undefined || owner === installation) return;
  throw new Conflict(
    "namespace-taken",
    `Temporal namespace "${client.options.namespace}" belongs to another Holdfast database (${owner}, ours is ${installation}): give each its own with TEMPORAL_NAMESPACE`,
  );
}
