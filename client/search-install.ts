import { z } from "zod";
import { InvalidInput } from "../contracts/errors.ts";
import { storable } from "../contracts/operation.ts";
import type { SearchType } from "../contracts/search.ts";
import { insertAudit } from "../db/audit.ts";
import type { Tx } from "../db/pool.ts";
import { installCapture, makeTrigrams, type CaptureOutcome } from "../db/search-capture.ts";
import { listIndexes } from "../db/search-indexes.ts";
import { removeStrayTraces, uninstallIndex } from "../db/search-uninstall.ts";
import { schemasOf, type SearchRegistry } from "../domain/search.ts";
import { asking, assertEveryTenant, type Context } from "./context.ts";
import { parseInput } from "./input.ts";

/** Which indexes are meant; absent: all. */
const SearchScope = z
  .object({
    schemas: z.array(z.string().min(1).max(63).superRefine(storable)).min(1).max(1_000).optional(),
    types: z.array(z.string().min(1).max(63)).min(1).max(1_000).optional(),
  })
  .strict();
type SearchScope = z.input<typeof SearchScope>;

interface InstalledIndex {
  schema: string;
  type: string;
  outcome: CaptureOutcome;
}

interface UninstalledIndex {
  schema: string;
  type: string;
}

/** Acts of administration: they put triggers on tables of others, and are kept in the audit. */
export interface SearchInstallClient {
  /**
   * Follows every commit of the types named, in the schemas named; by default of all types in the
   * schemas of the configuration. One index at a time: those before one that fails stay installed,
   * it leaves nothing behind. What is new is searchable once it was built: `search reindex`.
   * @throws InvalidInput, NotFound, RefusedByPolicy for a type that cannot be installed; Conflict
   *   naming who holds a table
   */
  install(scope?: SearchScope): Promise<InstalledIndex[]>;
  /**
   * Removes every trace of these indexes: triggers, functions, index rows, marks. Their tables stay
   * as they are.
   * @throws InvalidInput for a schema or type that is not installed; Conflict naming who holds a table
   */
  uninstall(scope?: SearchScope): Promise<UninstalledIndex[]>;
}

export function searchInstallClient(
  context: Context,
  registry: SearchRegistry,
): SearchInstallClient {
  const { db, actor } = context;
  const record = (tx: Tx, action: string, schema: string, type: string, after?: unknown) =>
    insertAudit(tx, { actor, action, tenant: "", subject: `index/${schema}.${type}`, after });

  return {
    install: (input = {}) =>
      asking(async () => {
        assertEveryTenant(context);
        const scope = parseInput(SearchScope, input);
        const installed: InstalledIndex[] = [];
        for (const { schema, type } of wantedIndexes(registry, scope)) {
          const outcome = await installCapture(db, schema, type, {
            registry,
            record: (tx, outcome) =>
              record(tx, "search.install", schema, type.name, { outcome, table: type.table }),
          });
          installed.push({ schema, type: type.name, outcome });
        }
        await makeTrigrams(db);
        return installed;
      }),

    uninstall: (input = {}) =>
      asking(async () => {
        assertEveryTenant(context);
        const scope = parseInput(SearchScope, input);
        const all = await listIndexes(db);
        for (const what of ["schema", "type"] as const) {
          assertThere(what, scope[`${what}s`], new Set(all.map((index) => index[what])));
        }
        const meant = all.filter(
          ({ schema, type }) =>
            (scope.schemas?.includes(schema) ?? true) && (scope.types?.includes(type) ?? true),
        );
        for (const index of meant) {
          const { schema, type } = index;
          await uninstallIndex(db, index, {
            record: (tx) => record(tx, "search.uninstall", schema, type),
          });
        }
        if (!scope.schemas && !scope.types) await removeStrayTraces(db);
        return meant.map(({ schema, type }) => ({ schema, type }));
      }),
  };
}

/** A type that lives in a schema of its own is installed there, whatever schemas are named. */
function wantedIndexes(
  registry: SearchRegistry,
  { schemas, types }: z.output<typeof SearchScope>,
): { schema: string; type: SearchType }[] {
  assertThere("type", types, new Set(registry.types.keys()));
  const wanted = [...registry.types.values()]
    .filter((type) => types?.includes(type.name) ?? true)
    .flatMap((type) => {
      const own = schemasOf(type, registry.settings);
      if (schemas === undefined) return own.map((schema) => ({ schema, type }));
      const named =
        type.schema === undefined ? schemas : schemas.filter((one) => own.includes(one));
      return named.map((schema) => ({ schema, type }));
    });
  if (wanted.length > 0 || types === undefined) return wanted;
  const message = `none of ${types.join(", ")} lives there: each has a schema of its own`;
  throw new InvalidInput([{ path: "schemas", message }]);
}

function assertThere(
  what: "schema" | "type",
  named: readonly string[] | undefined,
  there: ReadonlySet<string>,
): void {
  const issues = (named ?? []).flatMap((name, no) => {
    if (there.has(name)) return [];
    const known = [...there].slice(0, 30).join(", ") || "none";
    return [{ path: `${what}s[${no}]`, message: `"${name}" is not known; there are ${known}` }];
  });
  if (issues.length > 0) throw new InvalidInput(issues);
}
