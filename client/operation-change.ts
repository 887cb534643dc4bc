import { NotFound } from "../contracts/errors.ts";
import { OperationId } from "../contracts/operation.ts";
import { insertAudit } from "../db/audit.ts";
import { ownOperation } from "../db/locks.ts";
import { lockOperation, type OperationRow } from "../db/operations.ts";
import { OVER_ALL_ITEMS, type Tx } from "../db/pool.ts";
import { maySee, type Context } from "./context.ts";
import { parseInput } from "./input.ts";

export function unknownOperation(id: string): NotFound {
  return new NotFound("operation", id, 'list them with "holdfast operation list"');
}

export const isTerminal = (row: OperationRow) => row.finished_at !== null;

/** One guarded change of one operation, with its audit row, under the operation's lock. */
export async function changed(
  context: Context,
  id: string,
  action: string,
  change: (tx: Tx, row: OperationRow, context: Context) => Promise<"done" | "same">,
): Promise<void> {
  parseInput(OperationId, id, "id");
  await context.db.transaction(async (tx) => {
    await ownOperation(tx, id);
    const row = await lockOperation(tx, id);
    if (!row || !maySee(context, row.tenant)) throw unknownOperation(id);
    if ((await change(tx, row, context)) === "same") return;
    await insertAudit(tx, {
      actor: context.actor,
      action,
      tenant: row.tenant,
      subject: id,
      before: { state: row.state, generation: row.generation },
    });
  }, OVER_ALL_ITEMS);
}
