import type { Page } from "../contracts/operation.ts";
import type { Queryable, Tx } from "./pool.ts";

/** Who did what to what, written in the transaction that did it. */

export interface AuditEntry {
  actor: string;
  /** Dotted verb: `operation.cancel`, `key.create`. */
  action: string;
  tenant: string;
  subject: string;
  before?: unknown;
  after?: unknown;
}

export async function insertAudit(tx: Tx, entry: AuditEntry): Promise<void> {
  await tx.query(
    `insert into holdfast.audit (actor, action, tenant, subject, before, after)
     values ($1, $2, $3, $4, $5, $6)`,
    [
      entry.actor,
      entry.action,
      entry.tenant,
      entry.subject,
      entry.before === undefined ? null : JSON.stringify(entry.before),
      entry.after === undefined ? null : JSON.stringify(entry.after),
    ],
  );
}

export interface AuditRow extends AuditEntry {
  id: string;
  at: Date;
}

/** Newest first. */
export async function listAudit(
  db: Queryable,
  filter: {
    subject?: string;
    tenants?: readonly string[] | undefined;
    after?: string;
    limit: number;
  },
): Promise<Page<AuditRow>> {
  const { rows } = await db.query<AuditRow>(
    `select id, at, actor, action, tenant, subject, before, after from holdfast.audit
      where ($1::text is null or subject = $1)
        and ($2::text[] is null or tenant = any($2))
        and ($3::bigint is null or id < $3)
      order by id desc
      limit $4`,
    [filter.subject ?? null, filter.tenants ?? null, filter.after ?? null, filter.limit + 1],
  );
  const items = rows.slice(0, filter.limit);
  return rows.length > filter.limit ? { items, next: items.at(-1)!.id } : { items };
}
