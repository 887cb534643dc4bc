import { z } from "zod";
import type { HoldfastConfig } from "../contracts/config.ts";
import { InvalidInput } from "../contracts/errors.ts";
import { searchRegistry, type SearchRegistry } from "../domain/search.ts";
import type { Context } from "./context.ts";
import { issuesOf } from "./input.ts";

// Read once for a configuration: clients are made for every request.
const known = new WeakMap<HoldfastConfig, Map<string, SearchRegistry>>();

/** What is registered for search. @throws InvalidInput naming what is wrong in the configuration */
export function registryOf({ config, db }: Context): SearchRegistry {
  const bySchema = known.get(config) ?? new Map<string, SearchRegistry>();
  known.set(config, bySchema);
  let registry = bySchema.get(db.schema);
  if (!registry) bySchema.set(db.schema, (registry = read(config, db.schema)));
  return registry;
}

function read(config: HoldfastConfig, ownSchema: string): SearchRegistry {
  try {
    return searchRegistry(config, ownSchema);
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    throw new InvalidInput(
      issuesOf(error).map(({ path, message }) => ({ path: `search.${path}`, message })),
    );
  }
}
