import { auditRoutes } from "./audit.ts";
import { bankRoutes } from "./banks.ts";
import { brakeRoutes } from "./brakes.ts";
import { doctorRoutes } from "./doctor.ts";
import { deviationRoutes } from "./deviations.ts";
import { documentRoutes } from "./documents.ts";
import { inboxRoutes } from "./inbox.ts";
import { inventoryRoutes } from "./inventory.ts";
import { jobClaimRoutes } from "./job-claims.ts";
import { jobResultRoutes } from "./job-results.ts";
import { jobRoutes } from "./jobs.ts";
import { keyRoutes } from "./keys.ts";
import { operationRoutes } from "./operations.ts";
import { pipelineRoutes } from "./pipelines.ts";
import { planRoutes } from "./plans.ts";
import { retainRoutes } from "./retain.ts";
import type { Api } from "./route.ts";
import { searchRoutes } from "./search.ts";
import { webhookRoutes } from "./webhooks.ts";

/** Every route under /v1, by noun. */
export function apiRoutes(api: Api): void {
  retainRoutes(api);
  operationRoutes(api);
  bankRoutes(api);
  documentRoutes(api);
  searchRoutes(api);
  // Before /v1/jobs/{id}, which would take `workers` for an id.
  pipelineRoutes(api);
  jobClaimRoutes(api);
  jobRoutes(api);
  jobResultRoutes(api);
  inboxRoutes(api);
  inventoryRoutes(api);
  planRoutes(api);
  deviationRoutes(api);
  brakeRoutes(api);
  webhookRoutes(api);
  keyRoutes(api);
  auditRoutes(api);
  doctorRoutes(api);
}
