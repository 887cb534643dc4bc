import type { SearchIndexView, SearchStatus, SearchType } from "../contracts/search.ts";
import { estimateObjects } from "../db/index-build.ts";
import { readIndexLanes, waitedOf, waitedQuantile } from "../db/index-lanes.ts";
import { hasTrigrams, readStandings, type IndexStanding } from "../db/search-status.ts";
import {
  captureDigest,
  definitionDigest,
  labelOf,
  schemasOf,
  type SearchRegistry,
} from "../domain/search.ts";
import { asking, assertEveryTenant, type Context } from "./context.ts";

/** How search stands; see SearchClient. */
export function searchStatus(context: Context, registry: SearchRegistry) {
  return (): Promise<SearchStatus> =>
    asking(async () => {
      // Numbers and reasons are of all tenants' objects.
      assertEveryTenant(context);
      const { db } = context;
      const [standings, lanes, trigrams] = await Promise.all([
        readStandings(db),
        readIndexLanes(db),
        hasTrigrams(db),
      ]);
      const waited = waitedOf(lanes);
      const estimates = await estimated(db, standings, registry);
      return {
        indexes: [
          ...standings.map((standing) => viewOf(standing, registry, estimates.get(standing.id))),
          ...notInstalled([...registry.types.values()], standings, registry),
        ],
        lanes: lanes.map((lane) => ({
          lane: lane.lane,
          marks: lane.marks,
          oldestMarkAt: lane.oldestMarkAt?.toISOString() ?? null,
          applied: lane.applied,
          failingSince: lane.failingSince?.toISOString() ?? null,
          lastError: lane.lastError,
        })),
        visibleAfter: {
          count: waited.reduce((sum, n) => sum + n, 0),
          p50: waitedQuantile(waited, 0.5),
          p95: waitedQuantile(waited, 0.95),
          p99: waitedQuantile(waited, 0.99),
        },
        trigrams,
      };
    });
}

// Where there are too many to be counted, what the planner knows of the table says how many about.
async function estimated(
  db: Context["db"],
  standings: readonly IndexStanding[],
  { types }: SearchRegistry,
): Promise<Map<number, number>> {
  const large = standings.flatMap(({ countedAll, id, schema, type }) => {
    const table = types.get(type)?.table;
    return countedAll || table === undefined ? [] : [{ id, schema, table }];
  });
  const sizes = await estimateObjects(db, large);
  return new Map(large.map(({ id }, place) => [id, sizes[place]!]));
}

function viewOf(index: IndexStanding, registry: SearchRegistry, estimate = 0): SearchIndexView {
  const type = registry.types.get(index.type);
  const building = index.building !== null && index.buildingOperation !== null;
  return {
    schema: index.schema,
    type: index.type,
    label: labelOf(type ?? { name: index.type }),
    installed: true,
    objects: index.countedAll ? index.counted : Math.max(index.counted, estimate),
    generation: index.generation,
    builtAt: index.builtAt?.toISOString() ?? null,
    building: building
      ? { operationId: index.buildingOperation!, objects: index.buildingObjects }
      : null,
    marks: index.marks,
    oldestMarkAt: index.oldestMarkAt?.toISOString() ?? null,
    quarantined: index.quarantined,
    problems: problemsOf(index, type, registry.settings.language),
  };
}

function problemsOf(
  index: IndexStanding,
  type: SearchType | undefined,
  language: string,
): string[] {
  const of = `--type ${index.type} --schema ${index.schema}`;
  if (!type) {
    return [
      `nobody registers this type any more, it is not searched: "holdfast search uninstall ${of}" removes it`,
    ];
  }
  const problems: string[] = [];
  if (index.driftedAt) {
    problems.push(
      `its table does not fit its declaration (${index.driftReason}), what it found before stays: change the one or the other, it goes on by itself`,
    );
  }
  if (index.builtAt === null && index.building === null && index.marks === 0) {
    problems.push(`it was never built: run "holdfast search reindex ${of}"`);
  }
  if (!index.capture.equals(captureDigest(type))) {
    problems.push(`what its triggers watch was declared anew: run "holdfast search install ${of}"`);
  }
  if (!index.definition.equals(definitionDigest(type, language)) && index.building === null) {
    problems.push(
      `it is built from another declaration than the present one: run "holdfast search reindex ${of}"`,
    );
  }
  if (index.quarantined > 0) {
    problems.push(
      `${index.quarantined} ${index.quarantined === 1 ? "object" : "objects"} could not be indexed and is held: "holdfast search drain --release" tries again`,
    );
  }
  if (index.gap) {
    problems.push(
      `it was written while marks could not be: run "holdfast search audit ${of} --repair"`,
    );
  }
  return problems;
}

function notInstalled(
  types: readonly SearchType[],
  installed: readonly { schema: string; type: string }[],
  { settings }: SearchRegistry,
): SearchIndexView[] {
  return types.flatMap((type) =>
    schemasOf(type, settings)
      .filter((schema) => !installed.some((one) => one.type === type.name && one.schema === schema))
      .map((schema) => ({
        schema,
        type: type.name,
        label: labelOf(type),
        installed: false,
        objects: 0,
        generation: 0,
        builtAt: null,
        building: null,
        marks: 0,
        oldestMarkAt: null,
        quarantined: 0,
        problems: [
          `it is not installed: run "holdfast search install --type ${type.name} --schema ${schema}"`,
        ],
      })),
  );
}
