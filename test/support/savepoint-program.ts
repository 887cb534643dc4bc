/** Random transactions over nested savepoints, with what a mark of each must be in the end. */

export interface SavepointProgram {
  /** What is committed before. */
  setup: string;
  statements: string[];
  /** Sorted, as `takenMarks` gives them. */
  changed: string[];
}

const DEPTH = 6;
const KEYS = 8;

interface Level {
  /** Live rows and their names. */
  rows: Map<string, string>;
  touched: Set<string>;
}

/** One program per seed: commits or rolls back, statements of one row and of many. */
export function randomProgram(seed: number, schemas: readonly string[]): SavepointProgram {
  const random = mulberry(seed);
  const below = (n: number) => Math.floor(random() * n);
  const statements = ["begin"];
  // The state at each open savepoint, the present one last.
  const before = schemas.flatMap((schema) =>
    Array.from({ length: KEYS / 2 }, (_, i) => [`${schema}.site ${i * 2 + 1}`, "v0"] as const),
  );
  const levels: Level[] = [{ rows: new Map(before), touched: new Set() }];
  const names: string[] = [];
  const now = () => levels.at(-1)!;

  const write = () => {
    const schema = schemas[below(schemas.length)]!;
    const { rows, touched } = now();
    const id = (n: number) => `${schema}.site ${n}`;
    const n = 1 + below(KEYS);
    const last = Math.min(KEYS, n + below(4));
    const ids = Array.from({ length: last - n + 1 }, (_, i) => n + i);
    const name = `v${below(3)}`;
    switch (below(4)) {
      case 0:
        statements.push(
          `insert into ${schema}.site (id, name) select i, '${name}' from generate_series(${n}, ${last}) i on conflict do nothing`,
        );
        for (const one of ids) {
          if (rows.has(id(one))) continue;
          rows.set(id(one), name);
          touched.add(id(one));
        }
        return;
      case 1:
        statements.push(
          `update ${schema}.site set name = '${name}', seen = now() where id between ${n} and ${last}`,
        );
        for (const one of ids) {
          if (!rows.has(id(one)) || rows.get(id(one)) === name) continue;
          rows.set(id(one), name);
          touched.add(id(one));
        }
        return;
      case 2:
        statements.push(`delete from ${schema}.site where id between ${n} and ${last}`);
        for (const one of ids) if (rows.delete(id(one))) touched.add(id(one));
        return;
      default: {
        // A key moves past all others, where none is.
        const to = 100 + statements.length;
        statements.push(`update ${schema}.site set id = ${to} where id = ${n}`);
        const moved = rows.get(id(n));
        if (moved === undefined) return;
        rows.delete(id(n));
        rows.set(id(to), moved);
        touched.add(id(n)).add(id(to));
      }
    }
  };

  for (let step = 0; step < 12; step++) {
    const act = random();
    if (act < 0.2 && names.length < DEPTH) {
      names.push(`s${names.length}`);
      statements.push(`savepoint ${names.at(-1)}`);
      levels.push({ rows: new Map(now().rows), touched: new Set(now().touched) });
    } else if (act < 0.3 && names.length > 0) {
      statements.push(`release ${names.pop()}`);
      const inner = levels.pop()!;
      levels[levels.length - 1] = inner;
    } else if (act < 0.42 && names.length > 0) {
      // To any open savepoint: those inside it end, released or not.
      const to = below(names.length);
      statements.push(`rollback to ${names[to]}`);
      names.length = to + 1;
      levels.length = to + 1;
      levels.push({ rows: new Map(now().rows), touched: new Set(now().touched) });
    } else write();
  }
  const commits = random() < 0.85;
  statements.push(commits ? "commit" : "rollback");
  const setup = schemas
    .map(
      (schema) =>
        `insert into ${schema}.site (id, name) select i, 'v0' from generate_series(1, ${KEYS}, 2) i`,
    )
    .join("; ");
  return { setup, statements, changed: commits ? [...now().touched].toSorted() : [] };
}

/** The same numbers for the same seed. */
function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
