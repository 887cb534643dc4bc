import { NotFound } from "../contracts/errors.ts";
import { Tenant, type Page } from "../contracts/operation.ts";
import {
  BankFilter,
  BankName,
  ObservationFilter,
  type BankErased,
  type BankView,
  type ObservationView,
} from "../contracts/retain.ts";
import { insertAudit } from "../db/audit.ts";
import { findBank, listBanks } from "../db/banks.ts";
import { endOperationsOf, markBankErased, sweepBank } from "../db/erase.ts";
import { listObservations } from "../db/observations.ts";
import { entityKey } from "../db/parts.ts";
import type { Queryable } from "../db/pool.ts";
import { asking, assertTenant, defaultTenant, type Context } from "./context.ts";
import { parseInput } from "./input.ts";

/** Where a name is looked up; the tenant of the caller when absent. */
export interface OfTenant {
  tenant?: string;
}

/** Banks: what they hold, and their end. */
export interface BankClient {
  /** In order of making, 50 a page unless `limit` (1 to 200) says otherwise. */
  list(filter?: BankFilter): Promise<Page<BankView>>;
  /** @throws NotFound */
  get(bank: string, of?: OfTenant): Promise<BankView>;
  /** By entity, 100 a page unless `limit` (1 to 1,000) says otherwise. @throws NotFound */
  observations(bank: string, filter?: ObservationFilter): Promise<Page<ObservationView>>;
  /**
   * Erases a bank with its documents, its operations and their payloads, and all that was derived.
   * Once it answers, nothing of it can be read or written, and its name is free. @throws NotFound
   */
  erase(bank: string, of?: OfTenant): Promise<BankErased>;
}

/** A caller is kept waiting this long; workers do the rest. */
const ERASE_MS = 5_000;

export function bankClient(context: Context): BankClient {
  const { db } = context;
  return {
    list: (filter = {}) =>
      asking(async () => {
        const parsed = parseInput(BankFilter, filter);
        if (parsed.tenant !== undefined) assertTenant(context, parsed.tenant);
        return listBanks(db, { ...parsed, tenants: context.tenants });
      }),
    get: (bank, of = {}) =>
      asking(async () => {
        const found = await bankOf(context, db, bank, of);
        const { items } = await listBanks(db, { tenant: found.tenant, name: bank, limit: 1 });
        return items[0] ?? noBank(bank);
      }),
    observations: (bank, filter = {}) =>
      asking(async () => {
        const { entity, after, limit, tenant } = parseInput(ObservationFilter, filter);
        const { id } = await bankOf(context, db, bank, { tenant });
        const rows = await listObservations(db, id, {
          after,
          entity: entity === undefined ? undefined : entityKey(entity),
          limit: limit + 1,
        });
        const items = rows.slice(0, limit);
        return rows.length > limit ? { items, next: entityKey(items.at(-1)!.entity) } : { items };
      }),
    erase: (bank, of = {}) => asking(() => erase(context, bank, of)),
  };
}

async function erase(context: Context, name: string, of: OfTenant): Promise<BankErased> {
  const { db, actor } = context;
  const bank = await db.transaction(async (tx) => {
    const found = await bankOf(context, tx, name, of);
    if (!(await markBankErased(tx, found.id))) noBank(name);
    const { tenant, id } = found;
    await insertAudit(tx, { actor, action: "bank.erase", tenant, subject: name, before: { id } });
    return found;
  });
  const operationsEnded = await endOperationsOf(db, bank);
  const complete = await sweepBank(db, bank, Date.now() + ERASE_MS);
  return { tenant: bank.tenant, bank: name, operationsEnded, complete };
}

/** The live bank of this name. @throws InvalidInput, NotFound */
export async function bankOf(
  context: Context,
  db: Queryable,
  name: string,
  of: { tenant?: string | undefined },
): Promise<{ id: string; tenant: string; name: string }> {
  const tenant = of.tenant ?? defaultTenant(context);
  assertTenant(context, parseInput(Tenant, tenant, "tenant"));
  parseInput(BankName, name, "bank");
  const id = (await findBank(db, tenant, name)) ?? noBank(name);
  return { id, tenant, name };
}

function noBank(name: string): never {
  throw new NotFound("bank", name, 'see "holdfast bank list"');
}
