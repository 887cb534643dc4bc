import { proxyActivities } from "@temporalio/workflow";
import type { doctorActivities, ExaminationSummary } from "../activities/doctor.ts";
import { repeatableWrites } from "./policies.ts";

const { examine } = proxyActivities<ReturnType<typeof doctorActivities>>({
  ...repeatableWrites,
  startToCloseTimeout: 240_000,
  heartbeatTimeout: 8_000,
});

/** One examination by the doctor, with repairs; a schedule runs it. */
export async function examineNow(): Promise<ExaminationSummary> {
  return examine();
}
