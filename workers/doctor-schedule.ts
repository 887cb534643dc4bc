import {
  ScheduleAlreadyRunning,
  ScheduleOverlapPolicy,
  type Client,
  type ScheduleOptions,
} from "@temporalio/client";
import { CONTROL_QUEUE } from "../contracts/task-queues.ts";

export const DOCTOR_SCHEDULE = "holdfast-doctor";

/**
 * Makes the schedule that examines every five minutes, or brings an older one up to date. One that a
 * person paused stays paused.
 */
export async function ensureDoctorSchedule(client: Client): Promise<void> {
  try {
    await client.schedule.create(definition);
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
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
