import type { Page } from "../contracts/operation.ts";
import type { BankView } from "../contracts/retain.ts";
import type { Queryable, Tx } from "./pool.ts";

/** Banks: isolated stores of documents inside a tenant, made by the first batch that names them. */

/** The live bank of this name, made if there is none; it goes with the transaction. */
export async function ensureBank(tx: Tx, tenant: string, name: string): Promise<string> {
  const found = await findBank(tx, tenant, name);
  if (found) return found;
  const { rows } = await tx.query<{ id: string }>(
    `insert into holdfast.banks (tenant, name) values ($1, $2)
     on conflict (tenant, name) where erased_at is null do nothing
     returning id::text`,
    [tenant, name],
  );
  // Taken by a concurrent first batch: its row is committed by now, and a new statement sees it.
  return rows[0]?.id ?? (await findBank(tx, tenant, name))!;
}

export async function findBank(
  db: Queryable,
  tenant: string,
  name: string,
): Promise<string | undefined> {
  const { rows } = await db.query<{ id: string }>(
    // As text: a caller's own driver may read a bigint as something else.
    "select id::text from holdfast.banks where tenant = $1 and name = $2 and erased_at is null",
    [tenant, name],
  );
  return rows[0]?.id;
}

export async function findBankById(
  db: Queryable,
  bankId: string,
): Promise<{ tenant: string; name: string } | undefined> {
  const { rows } = await db.query<{ tenant: string; name: string }>(
    "select tenant, name from holdfast.banks where id = $1 and erased_at is null",
    [bankId],
  );
  return rows[0];
}

export async function isBankLive(db: Queryable, bankId: string): Promise<boolean> {
  const { rows } = await db.query(
    "select 1 from holdfast.banks where id = $1 and erased_at is null",
    [bankId],
  );
  return rows.length === 1;
}

/** Banks by name, each with what it holds. */
export async function listBanks(
  db: Queryable,
  filter: {
    tenant?: string | undefined;
    name?: string | undefined;
    tenants?: readonly string[] | undefined;
    after?: string | undefined;
    limit: number;
  },
): Promise<Page<BankView>> {
  const { rows } = await db.query<{
    id: string;
    tenant: string;
    name: string;
    created_at: Date;
    documents: number;
    facts: number;
    observations: number;
    open_operations: number;
  }>(
    `select b.id, b.tenant, b.name, b.created_at,
            p.documents, p.facts,
            (select count(*)::int from holdfast.observations o where o.bank_id = b.id) as observations,
            (select count(*)::int from holdfast.operations op
              where op.tenant = b.tenant and op.scope = b.name and op.kind = 'retain'
                and op.state in ('accepted', 'running')) as open_operations
       from holdfast.banks b
      cross join lateral (
        select count(distinct document_id)::int as documents, coalesce(sum(facts), 0)::int as facts
          from holdfast.document_parts where bank_id = b.id) p
      where b.erased_at is null
        and ($1::text is null or b.tenant = $1)
        and ($2::text is null or b.name = $2)
        and ($3::text[] is null or b.tenant = any($3))
        and ($4::bigint is null or b.id > $4)
      order by b.id
      limit $5`,
    [
      filter.tenant ?? null,
      filter.name ?? null,
      filter.tenants ?? null,
      filter.after ?? null,
      filter.limit + 1,
    ],
  );
  const page = rows.slice(0, filter.limit);
  const items = page.map((row): BankView => ({
    tenant: row.tenant,
    name: row.name,
    createdAt: row.created_at.toISOString(),
    documents: row.documents,
    facts: row.facts,
    observations: row.observations,
    openOperations: row.open_operations,
  }));
  return rows.length > filter.limit ? { items, next: page.at(-1)!.id } : { items };
}
