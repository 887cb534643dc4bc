import { NotFound } from "../contracts/errors.ts";
import { BranchName } from "../contracts/inbox.ts";
import { insertAudit } from "../db/audit.ts";
import { liftHold } from "../db/inventory-guard.ts";
import type { InventoryPlace } from "../db/inventory-look-up.ts";
import { listHolds } from "../db/review-counts.ts";
import { asking, assertTenant, type Context } from "./context.ts";
import { parseInput } from "./input.ts";

/** A branch in which so much was about to change that everything waits until somebody has looked. */
export interface Hold extends InventoryPlace {
  at: string;
  because: string;
  /** Objects of the branch when the window began, and how many of them were changed in it. */
  objects: number;
  changed: number;
  /** Entities that wait in it, counted up to 10,000. */
  queued: number;
}

export interface HoldClient {
  /** Held longest first. */
  list(): Promise<Hold[]>;
  /** Lets a branch go on, with a window that counts anew. @throws NotFound when it is not held */
  lift(place: InventoryPlace): Promise<void>;
}

export function holdClient(context: Context): HoldClient {
  const { db, actor, tenants } = context;
  return {
    list: () =>
      asking(async () =>
        (await listHolds(db, tenants)).map((hold) => ({ ...hold, at: hold.at.toISOString() })),
      ),
    lift: ({ tenant, branch }) =>
      asking(async () => {
        assertTenant(context, tenant);
        parseInput(BranchName, branch, "branch");
        await db.transaction(async (tx) => {
          if (!(await liftHold(tx, { tenant, branch }, actor))) {
            throw new NotFound("hold", `${tenant}/${branch}`, "it is not held, or no longer");
          }
          const subject = `inventory/${tenant}/${branch}`;
          await insertAudit(tx, { actor, action: "inventory.lift", tenant, subject });
        });
      }),
  };
}
