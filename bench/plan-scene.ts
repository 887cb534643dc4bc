import { fileURLToPath } from "node:url";
import type { Entity } from "../contracts/inventory.ts";
import { PlanRule } from "../contracts/plan-rule.ts";
import { ingest, type IngestAnswer } from "../db/inbox.ts";
import type { InventoryPlace } from "../db/inventory-look-up.ts";
import { planAndApply, type PlanApplyOptions } from "../db/plan-apply.ts";
import { openDb, type Db } from "../db/pool.ts";
import type { Frame } from "./frame.ts";
import { NETWORK } from "./inventory-feed.ts";

/** Everything a rule lets through. */
export const APPLY_ALL: PlanApplyOptions = {
  mode: "auto",
  rules: [PlanRule.parse({ name: "all", decision: "apply" })],
};
export const PLAN_ONLY: PlanApplyOptions = { mode: "plan-only", rules: [] };

/** The same for workers, which are processes of their own. */
export const INVENTORY_CONFIG = fileURLToPath(new URL("inventory.config.ts", import.meta.url));

/** Entities of one message. */
const MESSAGE = 10_000;

/** A database of its own, and a pool. */
export async function planDatabase(frame: Frame): Promise<{ db: Db; url: string }> {
  const url = await frame.database(await frame.postgres());
  const db = openDb({ url });
  frame.atEnd(() => db.close());
  return { db, url };
}

export function placeOf(tenant: string): InventoryPlace {
  return { tenant, branch: "main" };
}

/** Takes entities in, some thousands a message, and answers what came of the messages in all. */
export async function take(
  db: Db,
  tenant: string,
  entities: readonly Entity[],
): Promise<Pick<IngestAnswer, "accepted" | "copies">> {
  const sum = { accepted: 0, copies: 0 };
  for (let at = 0; at < entities.length; at += MESSAGE) {
    const part = entities.slice(at, at + MESSAGE);
    const given = { tenant, branch: "main", source: "bench", entities: part };
    const { accepted, copies } = await db.transaction((tx) => ingest(tx, NETWORK, given));
    sum.accepted += accepted;
    sum.copies += copies;
  }
  return sum;
}

/** Plans and applies until nothing of the tenant is due. Answers how many entities that were. */
export async function applyAll(
  db: Db,
  tenant: string,
  options: PlanApplyOptions,
): Promise<{ claimed: number; applied: number; unchanged: number; open: number }> {
  const sum = { claimed: 0, applied: 0, unchanged: 0, open: 0 };
  for (;;) {
    const batch = await planAndApply(db, NETWORK, placeOf(tenant), options);
    if (batch.claimed === 0) return sum;
    for (const name of ["claimed", "applied", "unchanged", "open"] as const)
      sum[name] += batch[name];
  }
}

/** Statements that were sent and transactions that were begun while `work` ran on this pool. */
export function counting(db: Db): { db: Db; seen: { statements: number; transactions: number } } {
  const seen = { statements: 0, transactions: 0 };
  const counted: Db = {
    ...db,
    transaction: (work, how) => {
      seen.transactions++;
      return db.transaction(
        (tx) =>
          work({
            query: (text, values) => {
              seen.statements++;
              return tx.query(text, values);
            },
          }),
        how,
      );
    },
  };
  return { db: counted, seen };
}
