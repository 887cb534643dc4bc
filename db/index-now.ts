import type { SearchType } from "../contracts/search.ts";
import type { SearchRegistry } from "../domain/search.ts";
import { applyWell, isReplaced } from "./index-batch.ts";
import { readSchemaState } from "./index-drift.ts";
import { holdObject, unholdObjects } from "./index-held.ts";
import { lanesOf } from "./index-keys.ts";
import type { IndexSources } from "./index-sources.ts";
import { ownIndexLanes } from "./locks.ts";
import { inSavepoint, type Tx } from "./pool.ts";

/**
 * Brings objects up to date in the writer's own transaction, as far as it is one that sees what others
 * committed before it took the lanes. All or nothing; false: it has to be left to a drain.
 */
export async function applyNow(
  tx: Tx,
  at: { schema: string; type: SearchType; registry: SearchRegistry; sources: IndexSources },
  keys: readonly string[],
): Promise<boolean> {
  const { schema, type, registry, sources } = at;
  return inSavepoint(tx, async () => {
    if (!(await seesCommits(tx))) return false;
    const lanes = await lanesOf(tx, keys);
    await waitingAtMost(tx, LANES_WITHIN_MS, () => ownIndexLanes(tx, schema, lanes));
    const state = await readSchemaState(tx, registry, schema, [type.name]);
    const index = state.indexes.get(type.name);
    if (!index || index.driftedAt || isReplaced(state)) return false;
    const indexed = await sources.get(tx, schema, type, index.stamp);
    const held = await applyWell(tx, index, indexed, keys);
    if (state.hasHeld) await unholdObjects(tx, schema, type.name, keys);
    for (const { key, reason } of held) {
      await holdObject(tx, { schema, type: type.name, key }, reason);
    }
    return true;
  });
}

/**
 * The writer holds locks of its own, and whoever has the lanes may be another writer that comes to want
 * them: this one gives up first, well before Postgres looks for a deadlock and ends either.
 */
const LANES_WITHIN_MS = 500;

// What it was before comes back by the savepoint when the lock does not come.
async function waitingAtMost(tx: Tx, ms: number, lock: () => Promise<void>): Promise<void> {
  const { rows } = await tx.query<{ before: string }>(
    "select current_setting('lock_timeout') as before",
  );
  await tx.query("select set_config('lock_timeout', $1, true)", [`${ms}ms`]);
  await lock();
  await tx.query("select set_config('lock_timeout', $1, true)", [rows[0]!.before]);
}

// With one snapshot for all its statements, a transaction would put back what others have changed.
async function seesCommits(tx: Tx): Promise<boolean> {
  const { rows } = await tx.query<{ level: string }>(
    "select current_setting('transaction_isolation') as level",
  );
  return rows[0]!.level === "read committed" || rows[0]!.level === "read uncommitted";
}
