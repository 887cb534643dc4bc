import { expect, test } from "vitest";
import { consolidateActivities } from "../../activities/consolidate.ts";
import type { HoldfastConfig } from "../../contracts/config.ts";
import type { Drained } from "../../contracts/messages.ts";
import { Deferred } from "../../contracts/errors.ts";
import type { Db } from "../../db/pool.ts";
import { listHeld } from "../../db/quarantine.ts";
import { listObservations } from "../../db/observations.ts";
import { inActivity, retaining, worker, type Retaining } from "../support/retaining.ts";

const ref = { queue: "consolidate", lane: 0 };

function consolidating(db: Db, config: HoldfastConfig = {}): Promise<Drained> {
  const { consolidate } = consolidateActivities({ db, config });
  return inActivity(() => consolidate(ref));
}

const say = (documentId: string, content: string, rest: object = {}) => ({
  documentId,
  content,
  ...rest,
});

async function put(made: Retaining, ...items: ReturnType<typeof say>[]): Promise<void> {
  expect(await made.finished(await made.accept({ items }))).toMatchObject({ state: "completed" });
}

/** Observations with the documents of their sources. */
async function standing({ db }: Retaining): Promise<Record<string, string[]>> {
  const { rows } = await db.query<{ name: string; documents: string[] }>(
    `select o.name, array_agg(p.document_id order by p.document_id) as documents
       from holdfast.observations o
       join holdfast.observation_sources s on s.observation_id = o.id
       join holdfast.document_parts p on p.seq = s.part_seq
      group by o.id, o.name`,
  );
  return Object.fromEntries(rows.map((row) => [row.name, row.documents]));
}

async function marks({ db }: Retaining): Promise<string[]> {
  const { rows } = await db.query<{ key: string }>("select key from holdfast.marks order by seq");
  return rows.map((row) => row.key);
}

test("an observation goes with the facts it stood on, and what survives in other documents is consolidated again", async () => {
  const made = await retaining();
  await put(
    made,
    say("a", "Ada Lovelace wrote to Charles Babbage."),
    say("b", "In May Ada Lovelace met Grace Hopper."),
    say("c", "Ada Lovelace met Charles Babbage."),
  );
  await consolidating(made.db);
  expect(await standing(made)).toEqual({
    "Ada Lovelace": ["a", "b", "c"],
    "Charles Babbage": ["a", "c"],
  });
  expect(await marks(made)).toEqual([]);

  // Document a no longer speaks of either.
  await put(made, say("a", "Nothing of note."));
  expect(await standing(made)).toEqual({});
  const { rows } = await made.db.query("select 1 from holdfast.observation_sources");
  expect(rows).toEqual([]);
  expect(await marks(made)).toEqual(
    expect.arrayContaining(["entity/ada lovelace", "entity/charles babbage"]),
  );
  await consolidating(made.db);
  // Of Charles Babbage one fact is left, which is no observation.
  expect(await standing(made)).toEqual({ "Ada Lovelace": ["b", "c"] });
  expect(await marks(made)).toEqual([]);
});

test("the same text again leaves observations alone, and an append adds to them", async () => {
  const made = await retaining();
  await put(made, say("a", "Ada Lovelace wrote."), say("b", "Then Ada Lovelace slept."));
  await consolidating(made.db);
  const before = await standing(made);
  await put(made, say("a", "Ada Lovelace wrote.", { tags: ["again"] }));
  expect(await standing(made)).toEqual(before);
  expect(await marks(made)).toEqual([]);
  await put(made, say("a", "Later Ada Lovelace woke.", { mode: "append" }));
  await consolidating(made.db);
  expect(await standing(made)).toEqual({ "Ada Lovelace": ["a", "a", "b"] });
});

test("however many batches marked a bank, an entity is consolidated once a round", async () => {
  const made = await retaining();
  for (let n = 0; n < 30; n++) await put(made, say(`d${n}`, `On day ${n} Ada Lovelace wrote.`));
  let calls = 0;
  const consolidator = {
    name: "counting",
    version: "1",
    consolidate(entity: string, facts: readonly { id: string }[]) {
      calls++;
      return { text: `${entity}: ${facts.length}`, sources: facts.map((fact) => fact.id) };
    },
  };
  expect(await consolidating(made.db, { consolidator })).toMatchObject({ done: 1, more: false });
  expect(calls).toBe(1);
  const { rows } = await made.db.query<{ id: string }>("select id::text from holdfast.banks");
  expect(await listObservations(made.db, rows[0]!.id, { limit: 10 })).toMatchObject([
    { entity: "Ada Lovelace", text: "Ada Lovelace: 30" },
  ]);
});

test("banks take turns, and one entity that fails holds up no other; at the cap it is held and seen", async () => {
  const made = await retaining();
  for (const bank of ["one", "two"]) {
    const items = [
      say("a", "Ada Lovelace met Grace Hopper."),
      say("b", "Again Ada Lovelace met Grace Hopper."),
    ];
    await made.finished(await made.accept({ bank, items }));
  }
  const consolidator = {
    name: "moody",
    version: "1",
    consolidate(entity: string, facts: readonly { id: string }[]) {
      if (entity === "Ada Lovelace") throw new Error("not her\0");
      return { text: entity, sources: facts.map((fact) => fact.id) };
    },
  };
  for (let failures = 1; failures <= 5; failures++) {
    const drained = await consolidating(made.db, { consolidator });
    expect(drained.more).toBe(false);
    if (failures < 5) expect(drained.nextDueAt).toBeGreaterThan(Date.now());
    expect(await standing(made)).toEqual({ "Grace Hopper": ["a", "b"] });
    expect(await listHeld(made.db, 10)).toHaveLength(failures < 5 ? 0 : 2);
    await made.db.query("update holdfast.marks set due_at = clock_timestamp()");
  }
  expect(await marks(made)).toEqual([]);
  // A new fact about her is a new occasion.
  await made.finished(
    await made.accept({ bank: "one", items: [say("c", "So Ada Lovelace left.")] }),
  );
  await consolidating(made.db);
  expect(Object.keys(await standing(made)).toSorted()).toEqual(["Ada Lovelace", "Grace Hopper"]);
  expect(await listHeld(made.db, 10)).toHaveLength(1);
});

test("an answer that cannot be written is a failure of its entity alone", async () => {
  const made = await retaining();
  await put(
    made,
    say("a", "Ada Lovelace met Grace Hopper and Alan Turing and Charles Babbage."),
    say("b", "Ada Lovelace met Grace Hopper and Alan Turing and Charles Babbage again."),
  );
  const answers: Record<string, (ids: string[]) => unknown> = {
    "Ada Lovelace": (sources) => ({ text: "a\0b", sources }),
    "Grace Hopper": () => ({ text: "made up", sources: ["7.7.7", "no id"] }),
    "Alan Turing": (sources) => ({ text: 7, sources }),
    "Charles Babbage": (sources) => ({ text: "good", sources: [...sources, ...sources] }),
  };
  const consolidator = {
    name: "wild",
    version: "1",
    consolidate: (entity: string, facts: readonly { id: string }[]) =>
      answers[entity]!(facts.map((fact) => fact.id)) as never,
  };
  expect(await consolidating(made.db, { consolidator })).toMatchObject({ done: 1, more: false });
  expect(await standing(made)).toEqual({ "Charles Babbage": ["a", "b"] });
  const { rows } = await made.db.query<{ key: string }>(
    "select key from holdfast.quarantine order by key",
  );
  expect(rows.map((row) => row.key)).toEqual(["ada lovelace", "alan turing", "grace hopper"]);
});

test("a consolidator that defers is asked again then, and no failure is counted", async () => {
  const made = await retaining();
  await put(made, say("a", "Ada Lovelace wrote."), say("b", "Then Ada Lovelace slept."));
  const until = new Date(Date.now() + 3_600_000);
  const consolidator = {
    name: "deferring",
    version: "1",
    consolidate() {
      throw new Deferred(until);
    },
  };
  for (let turn = 0; turn < 8; turn++) {
    expect(await consolidating(made.db, { consolidator })).toEqual({
      done: 0,
      more: false,
      nextDueAt: until.getTime(),
    });
    await made.db.query("update holdfast.marks set due_at = clock_timestamp()");
  }
  expect(await listHeld(made.db, 10)).toEqual([]);
  await consolidating(made.db);
  expect(await standing(made)).toEqual({ "Ada Lovelace": ["a", "b"] });
});

test("an entity may be called anything a fact may hold", async () => {
  const made = await retaining();
  const name = `a/b.c ${"ü".repeat(220)} \u{1f980} entity/x`;
  const extractor = {
    name: "naming",
    version: "1",
    extract: () => [
      { text: "one", entities: [name, ` ${name.toUpperCase()} `, "", "  "] },
      { text: "two", entities: [name] },
    ],
  };
  await made.finished(
    await made.accept({ items: [say("a", "x")] }),
    worker(made.db, { extractor }),
  );
  await consolidating(made.db);
  expect(Object.values(await standing(made))).toEqual([["a", "a"]]);
});
