import fc from "fast-check";
import type pg from "pg";
import { ESTATE_SCHEMAS, ESTATE_TABLES } from "./estate.ts";

/**
 * What an application may do to its tables on one connection: single statements, transactions with
 * savepoints in any order, statements that fail in the middle. What stands in the end, Postgres says.
 */
type Step =
  | { do: "begin" | "savepoint" | "commit" | "rollback" }
  /** Of the savepoints that are open, the one at this place. */
  | { do: "release" | "rollback to"; at: number }
  | { do: "sql"; sql: string };

export type WriteProgram = readonly Step[];

const schema = fc.constantFrom(...ESTATE_SCHEMAS);
const table = fc.constantFrom(...ESTATE_TABLES);
const siteId = fc.integer({ min: 1, max: 6 });
const deviceId = fc.integer({ min: 1, max: 12 });
const span = fc.integer({ min: 0, max: 4 });
const name = fc.constantFrom("'Köln'", "'O''Brien \"II\"'", "'100%_\\'", "''", "null", "'river'");
const status = fc.constantFrom("'active'", "'retired'", "null");
const vrf = fc.constantFrom("'in \"side\"'", "'out'");
const host = fc.constantFrom("'10.0.0.7'", "'10.0.0.7/8'", "'2001:db8::7'", "null");
const length = fc.constantFrom(1, 3, 400);
const conflict = fc.constantFrom("", "on conflict do nothing");

const one = (...statements: fc.Arbitrary<string>[]) => fc.oneof(...statements);

const inserts = one(
  fc
    .tuple(schema, siteId, name, conflict)
    .map(
      ([s, id, n, c]) =>
        `insert into ${s}.sites (id, name, code, tags) values (${id}, ${n}, 'S${id}', array[${n}, 'new']) ${c}`,
    ),
  fc
    .tuple(schema, deviceId, name, status, siteId, conflict)
    .map(
      ([s, id, n, is, site, c]) =>
        `insert into ${s}.devices (id, name, status, site) values (${id}, ${n}, ${is}, ${site}) ${c}`,
    ),
  fc
    .tuple(schema, vrf, deviceId, host, deviceId, conflict)
    .map(
      ([s, v, no, h, device, c]) =>
        `insert into ${s}.addresses (vrf, no, host, device) values (${v}, ${no}, ${h}, ${device}) ${c}`,
    ),
  fc
    .tuple(schema, deviceId, length, conflict)
    .map(
      ([s, id, l, c]) =>
        `insert into ${s}.notes (id, body) values ('note/${id}', repeat('Found by ${id} rivers. ', ${l})) ${c}`,
    ),
);

const updates = one(
  fc
    .tuple(schema, siteId, span, name)
    .map(
      ([s, id, n, v]) => `update ${s}.sites set name = ${v} where id between ${id} and ${id + n}`,
    ),
  fc
    .tuple(schema, siteId, span)
    .map(([s, id, n]) => `update ${s}.sites set seen = now() where id between ${id} and ${id + n}`),
  fc
    .tuple(schema, siteId, name)
    .map(([s, id, v]) => `update ${s}.sites set tags = array_append(tags, ${v}) where id = ${id}`),
  fc
    .tuple(schema, deviceId, span, name, status)
    .map(
      ([s, id, n, v, is]) =>
        `update ${s}.devices set name = ${v}, status = ${is} where id between ${id} and ${id + n}`,
    ),
  fc
    .tuple(schema, deviceId, span, siteId)
    .map(
      ([s, id, n, site]) =>
        `update ${s}.devices set site = ${site} where id between ${id} and ${id + n}`,
    ),
  fc
    .tuple(schema, vrf, host, deviceId)
    .map(
      ([s, v, h, device]) =>
        `update ${s}.addresses set host = ${h}, device = ${device} where vrf = ${v}`,
    ),
  fc
    .tuple(schema, deviceId, length)
    .map(
      ([s, id, l]) =>
        `update ${s}.notes set body = repeat('Moved ${id} times. ', ${l}) where id = 'note/${id}'`,
    ),
);

const deletes = one(
  fc
    .tuple(schema, siteId, span)
    .map(([s, id, n]) => `delete from ${s}.sites where id between ${id} and ${id + n}`),
  fc
    .tuple(schema, deviceId, span)
    .map(([s, id, n]) => `delete from ${s}.devices where id between ${id} and ${id + n}`),
  fc
    .tuple(schema, vrf, deviceId)
    .map(([s, v, no]) => `delete from ${s}.addresses where vrf = ${v} and no <> ${no}`),
  fc.tuple(schema, deviceId).map(([s, id]) => `delete from ${s}.notes where id = 'note/${id}'`),
);

const keyChanges = one(
  fc
    .tuple(schema, siteId, siteId)
    .map(([s, from, to]) => `update ${s}.sites set id = ${to} where id = ${from}`),
  fc.tuple(schema, siteId).map(([s, id]) => `update ${s}.sites set id = -id where id >= ${id}`),
  fc
    .tuple(schema, deviceId, deviceId)
    .map(
      ([s, from, to]) => `update ${s}.devices set id = ${to}, name = 'moved' where id = ${from}`,
    ),
  fc
    .tuple(schema, vrf)
    .map(([s, v]) => `update ${s}.addresses set vrf = ${v}, no = no + 100 where no < 7`),
  fc
    .tuple(schema, deviceId)
    .map(([s, id]) => `update ${s}.notes set id = 'note/'' ' || id where id = 'note/${id}'`),
);

// Several statements in one go are one transaction, unless one is open.
const again = one(
  fc
    .tuple(schema, siteId, name)
    .map(
      ([s, id, v]) =>
        `delete from ${s}.sites where id = ${id}; insert into ${s}.sites (id, name) values (${id}, ${v})`,
    ),
  fc
    .tuple(schema, deviceId, name, siteId)
    .map(
      ([s, id, v, site]) =>
        `delete from ${s}.devices where id = ${id}; insert into ${s}.devices (id, name, site) values (${id}, ${v}, ${site})`,
    ),
);

const bulk = one(
  fc.tuple(schema, fc.integer({ min: 2, max: 300 }), siteId).map(
    ([s, n, site]) =>
      `insert into ${s}.devices (id, name, status, site)
           select i, 'bulk ' || i, 'active', (select id from ${s}.sites where id = ${site})
             from generate_series(13, ${13 + n}) i on conflict (id) do update set name = excluded.name`,
  ),
  fc.tuple(schema, status).map(([s, is]) => `update ${s}.devices set status = ${is} where id > 12`),
  fc.tuple(schema).map(([s]) => `delete from ${s}.devices where id > 12`),
);

const raw = one(
  fc.tuple(schema, siteId, name).map(
    ([s, id, v]) =>
      `merge into ${s}.sites t using (values (${id}, ${v}::text), (${id + 1}, null)) v(id, name) on t.id = v.id
           when matched and v.name is null then delete
           when matched then update set name = v.name
           when not matched then insert (id, name) values (v.id, v.name)`,
  ),
  fc.tuple(schema, deviceId).map(
    ([s, id]) =>
      `with gone as (delete from ${s}.devices where id = ${id} returning *)
         insert into ${s}.notes (id, body) select 'note/gone ' || id, name from gone on conflict do nothing`,
  ),
  fc.tuple(schema).map(([s]) => `set search_path = ${s}; update sites set name = upper(name)`),
  fc
    .tuple(schema, schema)
    .map(
      ([from, to]) =>
        `insert into ${to}.sites (id, name, code) select id, name, 'copy' from ${from}.sites on conflict (id) do update set name = excluded.name`,
    ),
  fc.constant("select 1 / 0"),
);

const truncates = fc
  .tuple(schema, table)
  .map(([s, of]) => `truncate ${s}.${of}${s === "main" ? " cascade" : ""}`);

const sql = fc
  .oneof(
    { weight: 6, arbitrary: inserts },
    { weight: 6, arbitrary: updates },
    { weight: 3, arbitrary: deletes },
    { weight: 3, arbitrary: keyChanges },
    { weight: 3, arbitrary: again },
    { weight: 1, arbitrary: bulk },
    { weight: 2, arbitrary: raw },
    { weight: 1, arbitrary: truncates },
  )
  .map((text): Step => ({ do: "sql", sql: text }));

const transactional = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom<Step>(
      { do: "begin" },
      { do: "savepoint" },
      { do: "savepoint" },
      { do: "commit" },
      { do: "rollback" },
    ),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom("release" as const, "rollback to" as const),
      at: fc.nat({ max: 3 }),
    }),
  },
);

/** Programs of up to `steps` steps. */
export const writePrograms = (steps: number): fc.Arbitrary<WriteProgram> =>
  fc.array(fc.oneof({ weight: 5, arbitrary: sql }, { weight: 2, arbitrary: transactional }), {
    minLength: 1,
    maxLength: steps,
    size: "max",
  });

/** Runs a program to its end; what is open then is committed. Answers how many statements stood. */
export async function runProgram(app: pg.ClientBase, program: WriteProgram): Promise<number> {
  const run = new ProgramRun(app);
  for (const step of program) await run.step(step);
  await run.end("commit");
  return run.done;
}

class ProgramRun {
  readonly #app: pg.ClientBase;
  #isOpen = false;
  #named = 0;
  #savepoints: string[] = [];
  done = 0;

  constructor(app: pg.ClientBase) {
    this.#app = app;
  }

  async step(step: Step): Promise<void> {
    switch (step.do) {
      case "begin":
        await this.end("commit");
        return this.#begin();
      case "commit":
      case "rollback":
        return this.end(step.do);
      case "savepoint": {
        await this.#begin();
        const made = `s${this.#named++}`;
        this.#savepoints.push(made);
        await this.#app.query(`savepoint ${made}`);
        return;
      }
      case "release":
      case "rollback to": {
        if (this.#savepoints.length === 0) return;
        const at = step.at % this.#savepoints.length;
        await this.#app.query(`${step.do} savepoint ${this.#savepoints[at]}`);
        this.#savepoints.length = step.do === "release" ? at : at + 1;
        return;
      }
      case "sql":
        return this.#sql(step.sql);
    }
  }

  async end(how: "commit" | "rollback"): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#savepoints = [];
    await this.#app.query(how);
  }

  async #begin(): Promise<void> {
    if (this.#isOpen) return;
    this.#isOpen = true;
    await this.#app.query("begin");
  }

  // As an application does that goes on after an error: back to where it was well.
  async #sql(text: string): Promise<void> {
    try {
      await this.#app.query(text);
      this.done++;
    } catch (error) {
      if ((error as { code?: string }).code === undefined) throw error;
      if (!this.#isOpen) return;
      const last = this.#savepoints.at(-1);
      if (last === undefined) return this.end("rollback");
      await this.#app.query(`rollback to savepoint ${last}`);
    }
  }
}
