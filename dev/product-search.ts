import type { HoldfastConfig } from "../contracts/config.ts";
import { connect } from "../client/index.ts";

/**
 * Makes everything registered searchable; safe to repeat. What was there before is built by a worker.
 * A table that is not there, or not yet, is told and keeps nothing from starting.
 */
export async function installSearch(
  at: { databaseUrl: string; schema: string; config: HoldfastConfig },
  log: (line: string) => void,
): Promise<void> {
  const holdfast = connect({ ...at, poolSize: 2, actor: "dev" });
  try {
    const installed = await holdfast.search.install();
    const fresh = installed.filter(({ outcome }) => outcome === "installed");
    if (fresh.length === 0) return;
    log(`search follows ${fresh.map(({ schema, type }) => `${schema}.${type}`).join(", ")}`);
    await holdfast.search.reindex({ lazy: true });
  } catch (error) {
    log(`search is not installed: ${(error as Error).message}`);
  } finally {
    await holdfast.close();
  }
}
