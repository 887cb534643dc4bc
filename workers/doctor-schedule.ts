import {
  ScheduleAlreadyRunning,
  ScheduleOverlapPolicy,
  type Client,
  type ScheduleOptions,
} from "@temporalio/client";
import { assertOwned, DOCTOR_SCHEDULE, OWNER_MEMO } from "../activities/namespace-owner.ts";
import { CONTROL_QUEUE } from "../contracts/task-queues.ts";

/**
 * Makes the schedule that examines every five minutes, or brings an older one up to date. One that a
 * person paused stays paused. It also says whose the namespace is.
 * @throws Conflict when the namespace belongs to another database
 */
export async function ensureDoctorSchedule(client: Client, installation: string): Promise<void> {
  try {
    await client.schedule.create({ ...definition, memo: { [OWNER_MEMO]: installation } });
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    await assertOwned(client, installation);
    await client.schedule
      .getHandle(DOCTOR_SCHEDULE)
      .update(({ state }) => ({ ...definition, state }));
  }
}

const definition = {
  scheduleId: DOCTOR_SCHEDULE,
  spec: { intervals: [{ every: "5 minutes" }], jitter: "20 seconds" },
  action: {
    type: "startWorkflow",
    workflowType: "examineNow",
    workflowId: "doctor",
    taskQueue: CONTROL_QUEUE,
    args: [],
    staticSummary: "finds and repairs disagreement between rows and workflows",
  },
  policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: "1 minute" },
} satisfies ScheduleOptions;
