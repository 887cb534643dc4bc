import type { HoldfastConfig } from "../contracts/config.ts";
import { searchRegistry, type SearchRegistry } from "../domain/search.ts";
import { drainInBackend, type BackendOptions } from "./index-backend.ts";
import { drainInPostgres } from "./index-batch.ts";
import type { IndexDrain } from "./index-claim.ts";
import { markReplaced, retryDrifted } from "./index-drift.ts";
import { IndexSources } from "./index-sources.ts";
import type { Db } from "./pool.ts";

/** How marks are worked in this installation: into Postgres, or into the backend that is configured. */
export function indexDrain(
  db: Db,
  config: Pick<HoldfastConfig, "search">,
  registry: SearchRegistry,
  sources: IndexSources,
  options: BackendOptions = {},
): IndexDrain {
  const backend = config.search?.backend;
  return backend
    ? drainInBackend(db, registry, sources, backend, options)
    : drainInPostgres(db, registry, sources);
}

/** Looks now and then at what no mark tells of: sources that fit again, schemas that went or came back. */
export async function sweepSources(
  db: Db,
  config: Pick<HoldfastConfig, "search">,
): Promise<{ readable: number; replaced: number }> {
  const registry = searchRegistry(config, db.schema);
  const readable = await retryDrifted(db, registry, new IndexSources(registry));
  return { readable, replaced: await markReplaced(db) };
}
