import { auditKeys, auditObjects, someKey, type Differing } from "../index-audit.ts";
import {
  abandonBuilds,
  findAbandonedBuilds,
  findDeadGenerations,
  sweepBuilds,
} from "../index-sweep.ts";
import { appendIndexMarks } from "../index-marks.ts";
import { readSource } from "../index-source.ts";
import { inSavepoint, type Queryable } from "../pool.ts";
import { listIndexes, type SearchIndex } from "../search-indexes.ts";
import { classify } from "../../domain/faults.ts";
import { definitionDigest, type SearchRegistry } from "../../domain/search.ts";
import { MOST_SUBJECTS, type Found, type RowCheck } from "./check.ts";
import { count } from "./operation-subject.ts";

/** Invariants of search: the index is what the tables say, and builds leave nothing behind. */

/** Objects of one index that one examination compares. */
const SAMPLE = 500;
/** Indexes of which one examination takes a sample. */
const INDEXES = 20;
/** Rows that nobody reads, before that is worth a word: upkeep takes them away by and by. */
const MANY_DEAD_ROWS = 50_000;

const nameOf = ({ schema, type }: SearchIndex) => `index ${schema}.${type}`;

/**
 * Samples, from another place each time: what was found is looked at again until it is gone. The whole
 * is for `holdfast search audit`.
 */
const indexDiffers = (registry: SearchRegistry): RowCheck => {
  const { language } = registry.settings;

  async function differing(
    db: Queryable,
    index: SearchIndex,
    after: string | undefined,
  ): Promise<Differing[]> {
    const source = await readSource(db, index.schema, registry.types.get(index.type)!);
    const of = { id: index.id, source };
    const page = { limit: SAMPLE, language };
    const objects = await auditObjects(db, of, { ...page, after });
    const keys = await auditKeys(db, of, { ...page, after: after ?? "" });
    return [...objects.found, ...keys.found];
  }

  async function findIn(db: Queryable, index: SearchIndex, again: string[]): Promise<Found[]> {
    const source = await readSource(db, index.schema, registry.types.get(index.type)!);
    // The first page as well: a small table is compared as a whole.
    const places = new Set([undefined, await someKey(db, source), ...again]);
    const found: Found[] = [];
    for (const after of places) {
      const differs = await differing(db, index, after);
      if (differs.length > 0) found.push(telling(index, after, differs));
    }
    return found;
  }

  return {
    name: "index-differs",
    explanation: "index = source: what is found is what the tables hold",
    async find({ db }) {
      if (registry.hasBackend) return [];
      const indexes = (await listIndexes(db)).filter(
        ({ type, driftedAt }) => registry.types.has(type) && driftedAt === null,
      );
      const open = await openSubjects(db, "index-differs");
      const found: Found[] = [];
      for (const index of sampleOf(indexes, open)) {
        const again = placesOf(open, index);
        // A table that cannot be read now is the drain's to tell, and hinders no other.
        const one = await inSavepoint(db, () => findIn(db, index, again)).catch(unlessAway);
        found.push(...(one ?? []));
      }
      return found.slice(0, MOST_SUBJECTS);
    },
    repair: async ({ db }, { subject }) => {
      for (const index of await listIndexes(db)) {
        const [after] = placesOf([subject], index);
        if (after === undefined && subject !== nameOf(index)) continue;
        return db.transaction(async (tx) => {
          const keys = (await differing(tx, index, after)).map(({ key }) => key);
          if (keys.length === 0) return undefined;
          await appendIndexMarks(tx, index.schema, index.type, keys);
          return `marked ${count(keys.length, "object")}`;
        });
      }
      return undefined;
    },
  };
};

function telling(index: SearchIndex, after: string | undefined, differs: Differing[]): Found {
  const shown = differs.slice(0, 3).map(({ key, kind }) => `${key} (${kind})`);
  const more = differs.length > shown.length ? ", ..." : "";
  return {
    subject: after === undefined ? nameOf(index) : `${nameOf(index)} after ${after}`,
    message:
      `of ${SAMPLE} objects looked at, ${differs.length} differ from the index: ` +
      `${shown.join(", ")}${more}. "holdfast search audit" compares all of them`,
    repair: "mark them, so that they are indexed again",
  };
}

/** Those with something open first, then any. */
function sampleOf(indexes: SearchIndex[], open: readonly string[]): SearchIndex[] {
  const weight = new Map(
    indexes.map((index) => [
      index,
      open.some((subject) => isOf(subject, index)) ? -1 : Math.random(),
    ]),
  );
  return indexes.toSorted((a, b) => weight.get(a)! - weight.get(b)!).slice(0, INDEXES);
}

const isOf = (subject: string, index: SearchIndex) =>
  subject === nameOf(index) || subject.startsWith(`${nameOf(index)} after `);

function placesOf(subjects: readonly string[], index: SearchIndex): string[] {
  const before = `${nameOf(index)} after `;
  return subjects
    .filter((subject) => subject.startsWith(before))
    .map((subject) => subject.slice(before.length));
}

async function openSubjects(db: Queryable, check: string): Promise<string[]> {
  const { rows } = await db.query<{ subject: string }>(
    `select subject from holdfast.findings
      where check_name = $1 and resolved_at is null order by subject limit ${MOST_SUBJECTS}`,
    [check],
  );
  return rows.map(({ subject }) => subject);
}

function unlessAway(error: unknown): undefined {
  if (classify(error) !== "domain") throw error;
}

const definitionChanged = (registry: SearchRegistry): RowCheck => ({
  name: "index-definition-changed",
  explanation: "every index was built from the definition of its type",
  async find({ db }) {
    const changed = (await listIndexes(db)).filter((index) => {
      const type = registry.types.get(index.type);
      const now = type && definitionDigest(type, registry.settings.language);
      return now && !now.equals(index.buildingDefinition ?? index.definition);
    });
    return changed.slice(0, MOST_SUBJECTS).map((index) => ({
      subject: nameOf(index),
      message:
        `type ${index.type} is declared otherwise than when ${index.schema}.${index.type} was built: run ` +
        `"holdfast search reindex --type ${index.type} --schema ${index.schema}"`,
    }));
  },
});

const abandonedBuild: RowCheck = {
  name: "abandoned-build",
  explanation: "an index is built only by an operation that is open",
  // Upkeep ends them within a minute.
  confirmAfterMs: 2_000,
  async find({ db }) {
    const builds = await findAbandonedBuilds(db, MOST_SUBJECTS);
    return builds.map(({ schema, type, operationId }) => ({
      subject: `index ${schema}.${type}`,
      message: `operation ${operationId} builds it, and is not open: the drain writes for nobody`,
      operationId,
      repair: "end the build",
    }));
  },
  async repair({ db }) {
    const ended = await abandonBuilds(db);
    return ended > 0 ? `ended ${count(ended, "build")}` : undefined;
  },
};

const deadIndexRows: RowCheck = {
  name: "dead-index-rows",
  explanation: "index rows that nobody reads are taken away",
  async find({ db }) {
    const found: Found[] = [];
    for (const { indexId, generation } of await findDeadGenerations(db)) {
      const { rows } = await db.query<{ n: number }>(
        `select count(*)::int as n from (select from holdfast.index_rows
          where index_id = $1 and generation = $2 limit ${MANY_DEAD_ROWS}) as counted`,
        [indexId, generation],
      );
      if (rows[0]!.n < MANY_DEAD_ROWS) continue;
      found.push({
        subject: `generation ${generation} of index ${indexId}`,
        message: `${MANY_DEAD_ROWS} rows or more are neither searched nor built: no worker runs upkeep`,
        repair: "delete them",
      });
    }
    return found.slice(0, MOST_SUBJECTS);
  },
  async repair({ db }) {
    const { rows } = await sweepBuilds(db);
    return rows > 0 ? `deleted ${count(rows, "row")}` : undefined;
  },
};

export const BUILD_CHECKS: readonly RowCheck[] = [abandonedBuild, deadIndexRows];

/** Those that have to know what is registered. */
export const indexChecks = (registry: SearchRegistry): readonly RowCheck[] => [
  indexDiffers(registry),
  definitionChanged(registry),
];
