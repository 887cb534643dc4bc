import type { HoldfastConfig } from "../contracts/config.ts";
import type { Begun, BatchRange, Finished, OperationRef } from "../contracts/messages.ts";
import { finishOperation } from "../db/finish.ts";
import { subBatchSizes } from "../db/items.ts";
import { appendLogs } from "../db/logs.ts";
import { findOperation, markRunning } from "../db/operations.ts";
import { OVER_ALL_ITEMS, type Db, type Tx } from "../db/pool.ts";
import { rangesOver } from "../domain/packing.ts";
import { beating } from "./heartbeat.ts";

export interface OperationDeps {
  db: Db;
  /** Stands in the ledger as who settled what. */
  identity: string;
  config?: HoldfastConfig;
}

// One child owns about this many items: few enough events, enough children to keep workers busy.
const ITEMS_PER_RANGE = 2_000;
const MAX_RANGES = 64;
/** Ranges of one operation worked at once. */
const WINDOW = 4;

/** Begin and finish, the same for every kind of operation. */
export const operationActivities = ({ db, identity, config }: OperationDeps) => ({
  /** Safe to repeat; a lost workflow is adopted by beginning the same generation again. */
  begin(ref: OperationRef): Promise<Begun> {
    return beating(async () => {
      if (await beginOperation(db, ref, identity)) {
        return { state: "running", ranges: await rangesOf(db, ref.id), window: WINDOW };
      }
      return { state: "gone", was: (await findOperation(db, ref.id))?.state ?? "erased" };
    });
  },

  /** Safe to repeat: on a terminal row it answers what is stored. */
  finish(
    ref: OperationRef,
    ending: { outcome: "failed" | "cancelled"; reason: string },
  ): Promise<Finished> {
    const { id, generation, kind } = ref;
    const persistLogs = kind !== "job" || config?.jobs?.persistLogs !== false;
    return beating(() =>
      db.transaction(
        (tx) => finishOperation(tx, { id, generation, by: identity, persistLogs, ...ending }),
        OVER_ALL_ITEMS,
      ),
    );
  },
});

/**
 * The row becomes running, with `alongside` whatever else begins in its transaction; false when it is terminal,
 * gone, or of another generation.
 */
export async function beginOperation(
  db: Db,
  ref: OperationRef,
  identity: string,
  how: { alongside?: (tx: Tx) => Promise<void>; persistLogs?: boolean } = {},
): Promise<boolean> {
  return db.transaction(async (tx) => {
    const row = await markRunning(tx, ref.id, ref.generation);
    if (!row) return false;
    await how.alongside?.(tx);
    if (how.persistLogs === false) return true;
    const again = row.restarts > 0 ? ` (restart ${row.restarts})` : "";
    await appendLogs(tx, [
      {
        operationId: ref.id,
        level: "info",
        message: `generation ${ref.generation} began${again}`,
        fields: { worker: identity },
      },
    ]);
    return true;
  }, OVER_ALL_ITEMS);
}

async function rangesOf(db: Db, operationId: string): Promise<BatchRange[]> {
  const sizes = await subBatchSizes(db, operationId);
  return rangesOver(sizes, MAX_RANGES, ITEMS_PER_RANGE).map(({ from, to }, index) => ({
    no: index + 1,
    from,
    to,
  }));
}
