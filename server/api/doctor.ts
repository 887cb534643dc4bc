import { z } from "zod";
import { asking } from "../../client/context.ts";
import { listFindings } from "../../db/findings.ts";
import { assertEveryTenant } from "../auth.ts";
import { limit } from "./parameters.ts";
import { listOf, route, type Api } from "./route.ts";

const FindingView = z
  .object({
    check: z.string(),
    subject: z.string(),
    message: z.string(),
    /** What the doctor would do about it; null: a person has to. */
    repair: z.string().nullable(),
    firstSeenAt: z.string(),
    lastSeenAt: z.string(),
  })
  .meta({ id: "Finding" });

/** What the doctor found when it last looked. */
export function doctorRoutes(api: Api): void {
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/doctor",
      id: "listFindings",
      tag: "doctor",
      summary: "Open findings, the longest standing first; needs a key for every tenant",
      query: z.strictObject({ limit: limit(100, 1_000) }),
      answer: listOf(FindingView).meta({ id: "FindingList" }),
    },
    async ({ principal, query }) => {
      assertEveryTenant(principal);
      const rows = await asking(() => listFindings(api.deps.holdfast.db, query.limit));
      return {
        items: rows.map((row) => ({
          check: row.check_name,
          subject: row.subject,
          message: row.message,
          repair: row.repair,
          firstSeenAt: row.first_seen_at.toISOString(),
          lastSeenAt: row.last_seen_at.toISOString(),
        })),
      };
    },
  );
}
