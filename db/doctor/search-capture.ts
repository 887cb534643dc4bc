import { HoldfastError } from "../../contracts/errors.ts";
import type { SearchType } from "../../contracts/search.ts";
import { captureDigest, schemasOf, type SearchRegistry } from "../../domain/search.ts";
import { markWholeType } from "../index-marks.ts";
import type { Queryable } from "../pool.ts";
import { readCaptured } from "../search-capture-catalog.ts";
import {
  differenceOf,
  readStanding,
  wantedCapture,
  type Difference,
} from "../search-capture-standing.ts";
import { installCapture } from "../search-capture.ts";
import { findIndex, listIndexes, type SearchIndex } from "../search-indexes.ts";
import { MOST_SUBJECTS, type Found, type RowCheck } from "./check.ts";

/** Invariants of capture: what is written to a searchable table is marked. */

const INSTALL = 'run "holdfast search install"';

/** @param registry what is searchable in this configuration */
export function captureChecks(registry: SearchRegistry): RowCheck[] {
  return [captureAbsent(registry), captureIncomplete(registry), captureGap];
}

/** Where nothing is installed nobody asks for search. */
const captureAbsent = (registry: SearchRegistry): RowCheck => ({
  name: "capture-absent",
  explanation: "what is installed for search is configured, and the other way round",
  async find({ db }) {
    const indexes = await listIndexes(db);
    if (indexes.length === 0) return [];
    const found: Found[] = [];
    for (const type of registry.types.values()) {
      for (const schema of schemasOf(type, registry.settings)) {
        if (indexes.some((one) => one.schema === schema && one.type === type.name)) continue;
        const message = `${type.name} is searchable in the configuration, and not installed in ${schema}`;
        found.push({ subject: `index ${schema}.${type.name}`, message: `${message}: ${INSTALL}` });
      }
    }
    for (const { schema, type } of indexes) {
      if (registry.types.has(type)) continue;
      const message =
        `${type} is installed in ${schema}, and not in this configuration: register it again, or ` +
        `run "holdfast search uninstall --type ${type}"`;
      found.push({ subject: `index ${schema}.${type}`, message });
    }
    return found.slice(0, MOST_SUBJECTS);
  },
});

const captureIncomplete = (registry: SearchRegistry): RowCheck => ({
  name: "capture-incomplete",
  explanation:
    "every table of an index, and each of its partitions, has its triggers as configured",
  async find({ db }) {
    const found: Found[] = [];
    for (const index of await listIndexes(db)) {
      const type = registry.types.get(index.type);
      if (!type) continue;
      const wrong = await whatIsWrong(db, registry, index, type);
      if (wrong === undefined) continue;
      found.push({
        subject: `index ${index.schema}.${index.type}`,
        message: `writes of ${index.type} in ${index.schema} may be missed: ${wrong.message}`,
        ...(wrong.mendable && { repair: "install it again, and mark what it may have missed" }),
      });
      if (found.length === MOST_SUBJECTS) break;
    }
    return found;
  },
  async repair({ db }, { subject }) {
    const index = (await listIndexes(db)).find(
      ({ schema, type }) => subject === `index ${schema}.${type}`,
    );
    const type = index && registry.types.get(index.type);
    if (!index || !type) return undefined;
    const outcome = await installCapture(db, index.schema, type, { registry });
    return outcome === "unchanged" ? undefined : "installed it again";
  },
});

async function whatIsWrong(
  db: Queryable,
  registry: SearchRegistry,
  index: SearchIndex,
  type: SearchType,
): Promise<{ message: string; mendable: boolean } | undefined> {
  try {
    const captured = await readCaptured(db, index.schema, type);
    const wanted = wantedCapture({ schema: registry.ownSchema }, index.id, captured);
    const difference = differenceOf(wanted, await readStanding(db, index.id));
    const wrong = described(difference);
    if (!index.capture.equals(captureDigest(type))) {
      wrong.unshift(
        index.capture.length === 0
          ? "an install did not come to its end"
          : "the configuration is not the one that was installed",
      );
    }
    return wrong.length === 0 ? undefined : { message: wrong.join("; "), mendable: true };
  } catch (error) {
    // A source that is not what it was: nothing can be installed on it.
    if (!(error instanceof HoldfastError)) throw error;
    return { message: error.message, mendable: false };
  }
}

function described({ functions, triggers, surplusTriggers }: Difference): string[] {
  const tables = new Set(triggers.map(({ relation }) => `${relation.schema}.${relation.name}`));
  const shown = [...tables].slice(0, 3).join(", ") + (tables.size > 3 ? ", ..." : "");
  return [
    tables.size > 0 ? `triggers are missing, disabled or changed on ${shown}` : "",
    functions.length > 0 ? `${functions.length} trigger functions are not as they should be` : "",
    surplusTriggers.length > 0 ? `${surplusTriggers.length} triggers are on tables too many` : "",
  ].filter(Boolean);
}

const captureGap: RowCheck = {
  name: "capture-gap",
  explanation: "every write of a searchable table was marked",
  async find({ db }) {
    const { rows } = await db.query<{ schema: string; type: string; at: Date }>(
      `select schema_name as schema, type, min(at) as at from holdfast.index_gaps
        group by 1, 2 order by 1, 2 limit ${MOST_SUBJECTS}`,
    );
    return rows.map(({ schema, type, at }) => ({
      subject: `index ${schema}.${type}`,
      message: `writes of ${type} in ${schema} were not marked at ${at.toISOString()} and maybe after it`,
      repair: "bring the whole index up to date",
    }));
  },
  repair: ({ db }, { subject }) =>
    db.transaction(async (tx) => {
      const { rows } = await tx.query<{ schema: string; type: string }>(
        `delete from holdfast.index_gaps
          where 'index ' || schema_name || '.' || type = $1
         returning schema_name as schema, type`,
        [subject],
      );
      const gap = rows[0];
      if (!gap) return undefined;
      if (!(await findIndex(tx, gap.schema, gap.type))) return "forgot it: no such index";
      await markWholeType(tx, gap.schema, gap.type);
      return "marked the whole type";
    }),
};
