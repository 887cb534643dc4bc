import { z } from "zod";
import { asking } from "../../client/context.ts";
import { listAudit, type AuditRow } from "../../db/audit.ts";
import { cursor, limit, text } from "./parameters.ts";
import { pageOf, route, type Api } from "./route.ts";

export const AuditView = z
  .object({
    id: z.string(),
    at: z.string(),
    actor: z.string(),
    /** Dotted verb: `operation.cancel`. */
    action: z.string(),
    tenant: z.string(),
    subject: z.string(),
    before: z.unknown(),
    after: z.unknown(),
  })
  .meta({ id: "AuditEntry" });

export function auditView(row: AuditRow): z.infer<typeof AuditView> {
  return { ...row, at: row.at.toISOString(), before: row.before, after: row.after };
}

/** Who did what to what. */
export function auditRoutes(api: Api): void {
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/audit",
      id: "listAudit",
      tag: "audit",
      summary: "Who did what to what, newest first",
      query: z.strictObject({
        subject: text(1_200).optional(),
        limit: limit(100, 1_000),
        after: cursor,
      }),
      answer: pageOf(AuditView).meta({ id: "AuditPage" }),
    },
    async ({ principal, query: { subject, after, limit: size } }) => {
      const page = await asking(() =>
        listAudit(api.deps.holdfast.db, {
          limit: size,
          tenants: principal.tenants,
          ...(subject === undefined ? {} : { subject }),
          ...(after === undefined ? {} : { after }),
        }),
      );
      return { ...page, items: page.items.map(auditView) };
    },
  );
}
