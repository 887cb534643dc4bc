import { expect, test } from "vitest";
import { Refused } from "../../contracts/errors.ts";
import { readIndexLanes, takeLease } from "../../db/index-lanes.ts";
import { appendIndexMarks, markWholeType } from "../../db/index-marks.ts";
import { listHeld } from "../../db/quarantine.ts";
import { findIndex } from "../../db/search-indexes.ts";
import { fault, watched } from "../support/failing.ts";
import { indexing, drainLane, marksLeft, type Indexing } from "../support/indexing.ts";
import { memoryBackend, type MemoryBackend } from "../support/memory-backend.ts";
import { backendConforms } from "../support/search-backend.ts";

backendConforms("one in memory", memoryBackend);
backendConforms("a slow one", () => {
  const backend = memoryBackend();
  backend.before = () => new Promise((resolve) => void setTimeout(resolve, 5));
  return backend;
});

async function external(): Promise<{ made: Indexing; backend: MemoryBackend }> {
  const backend = memoryBackend();
  const made = await indexing({}, { backend });
  await made.db.query(
    "insert into main.cities (id, name) select i, 'City ' || i from generate_series(1, 10) i",
  );
  return { made, backend };
}

const TEN = Array.from({ length: 10 }, (_, i) => String(i + 1));
const nameOf = (backend: MemoryBackend, key: string, schema = "main") =>
  backend.held.get(`${schema}/city/${key}`)?.fields.find(({ field }) => field === "name")?.value;

test("a backend of four methods is given what is live, and is asked for no more than that", async () => {
  const { made, backend } = await external();
  await appendIndexMarks(made.db, "main", "city", TEN);
  await made.db.query("delete from main.cities where id = 3");
  await made.db.query("update main.cities set name = 'Later' where id = 4");
  await made.drained();
  expect(backend.held.size).toBe(9);
  expect(nameOf(backend, "4")).toBe("Later");
  expect(await marksLeft(made.db)).toBe(0);
  const { rows } = await made.db.query("select 1 from holdfast.index_rows");
  expect(rows).toEqual([]);
});

test("what was rolled back never reaches a backend", async () => {
  const { made, backend } = await external();
  const change = made.db.transaction(async (tx) => {
    await tx.query("update main.cities set name = 'Never'");
    await appendIndexMarks(tx, "main", "city", TEN);
    throw new Error("rolled back");
  });
  await expect(change).rejects.toThrow("rolled back");
  await made.drained();
  expect(backend.calls).toEqual([]);
});

test("no call is made while a transaction is open", async () => {
  const { made, backend } = await external();
  let open = 0;
  const counting = {
    ...made.db,
    transaction: (async (work, options) => {
      open++;
      try {
        return await made.db.transaction(work, options);
      } finally {
        open--;
      }
    }) as typeof made.db.transaction,
  };
  const during: number[] = [];
  backend.before = () => void during.push(open);
  await appendIndexMarks(made.db, "main", "city", TEN);
  await made.db.transaction((tx) => markWholeType(tx, "main", "person"));
  await made.drained(counting);
  expect(during.length).toBeGreaterThan(3);
  expect(new Set(during)).toEqual(new Set([0]));
});

test("a backend that throws keeps the marks and shows its error; when it works again nothing is missing", async () => {
  const { made, backend } = await external();
  await appendIndexMarks(made.db, "main", "city", TEN);
  const before = await marksLeft(made.db);
  backend.before = () => {
    throw new Error("the cluster is red");
  };
  await expect(made.drained()).rejects.toThrow("the search backend failed: the cluster is red");
  expect(await marksLeft(made.db)).toBe(before);
  expect((await readIndexLanes(made.db)).find((lane) => lane.failingSince)).toMatchObject({
    lastError: "main: the search backend failed: the cluster is red",
  });
  expect(await listHeld(made.db, 1)).toEqual([]);
  backend.before = () => undefined;
  await made.drained();
  expect(backend.held.size).toBe(10);
  expect((await readIndexLanes(made.db)).every((lane) => lane.failingSince === null)).toBe(true);
});

test("a backend that never answers is waited for a while, and told so by its signal", async () => {
  const { made, backend } = await external();
  await appendIndexMarks(made.db, "main", "city", TEN);
  let told: unknown;
  backend.before = (_, signal) =>
    new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject((told = signal.reason)));
    });
  await expect(made.drained(made.db, { backendCallMs: 200 })).rejects.toThrow(
    "it did not answer within 200 ms",
  );
  expect(told).toMatchObject({ message: "it did not answer within 200 ms" });
  expect(await marksLeft(made.db)).toBeGreaterThan(0);
});

test("an object the backend refuses is held alone", async () => {
  const { made, backend } = await external();
  await appendIndexMarks(made.db, "main", "city", TEN);
  const { cache } = backend;
  backend.cache = async (objects, context) => {
    if (objects.some(({ key }) => key === "7")) throw new Refused("too odd");
    return cache(objects, context);
  };
  await made.drained();
  expect(backend.held.size).toBe(9);
  expect(await listHeld(made.db, 5)).toMatchObject([
    { key: "city/7", reason: "the search backend failed: too odd" },
  ]);
});

test("a lane is worked by one at a time, and each who takes it has a higher fence", async () => {
  const { made, backend } = await external();
  const lease = await takeLease(made.db, 0, 60_000);
  await appendIndexMarks(made.db, "main", "city", TEN);
  const answer = await drainLane({ db: made.db, config: made.config }, 0);
  expect(answer).toMatchObject({ done: 0, more: false, nextDueAt: expect.any(Number) });
  expect(backend.calls).toEqual([]);
  // Its holder died.
  await made.db.query("update holdfast.index_lanes set leased_until = now() - interval '1 second'");
  await made.drained();
  expect(backend.held.size).toBe(10);
  expect(backend.fences.length).toBeGreaterThan(0);
  expect(backend.fences.every((fence) => fence > lease!)).toBe(true);
});

test("who lost the lane while the backend was slow does not take the marks away", async () => {
  const { made, backend } = await external();
  await appendIndexMarks(made.db, "main", "city", ["1"]);
  const { rows } = await made.db.query<{ lane: number }>("select lane from holdfast.index_marks");
  const { lane } = rows[0]!;
  backend.before = async () => {
    backend.before = () => undefined;
    await made.db.query(
      "update holdfast.index_lanes set leased_until = now() - interval '1 second'",
    );
    await takeLease(made.db, lane, 60_000);
  };
  await drainLane({ db: made.db, config: made.config }, lane);
  expect(await marksLeft(made.db)).toBe(1);
});

test("a whole type is forgotten once, with every lane held, and walked anew", async () => {
  const { made, backend } = await external();
  await appendIndexMarks(made.db, "main", "city", TEN);
  await made.drained();
  await made.db.query("delete from main.cities where id > 5");
  await made.db.transaction((tx) => markWholeType(tx, "main", "city"));
  await made.drained();
  expect(backend.held.size).toBe(5);
  expect(backend.calls.filter((call) => call.startsWith("clear"))).toEqual(["clear city"]);
});

test("a parent that was renamed brings its objects to the backend", async () => {
  const { made, backend } = await external();
  await made.db.query("insert into main.people values ('c', 1, 'Ada', 1)");
  await made.db.query(
    `insert into holdfast.index_marks (lane, schema_name, type, keys, through)
     values (hashtext('1') & 3, 'main', 'person', '{1}', 'cities.0')`,
  );
  await made.drained();
  expect([...backend.held.keys()]).toEqual(['main/person/["c", "1"]']);
});

test("a long value is given whole", async () => {
  const { made, backend } = await external();
  const text = Array.from({ length: 5_000 }, (_, i) => `word${i} \u{1F3DB}`).join(" ");
  await made.db.query("update main.cities set notes = $1 where id = 1", [text]);
  await appendIndexMarks(made.db, "main", "city", ["1"]);
  await made.drained();
  const notes = backend.held.get("main/city/1")!.fields.filter(({ field }) => field === "notes");
  expect(notes.map(({ value }) => value)).toEqual([text]);
});

test("a schema that is gone is forgotten by the backend too, and the others go on", async () => {
  const { made, backend } = await external();
  await made.db.query("insert into branch.cities (id, name) values (1, 'Branch')");
  await appendIndexMarks(made.db, "branch", "city", ["1"]);
  await appendIndexMarks(made.db, "main", "city", TEN);
  await made.drained();
  await made.db.query("drop schema branch cascade");
  await appendIndexMarks(made.db, "branch", "city", ["1"]);
  await made.drained();
  expect([...backend.held.keys()].filter((id) => id.startsWith("branch"))).toEqual([]);
  expect(backend.held.size).toBe(10);
  expect(await findIndex(made.db, "branch", "city")).toBeUndefined();
});

test("a drifted source leaves the backend as it is", async () => {
  const { made, backend } = await external();
  await appendIndexMarks(made.db, "main", "city", TEN);
  await made.drained();
  const before = backend.calls.length;
  await made.db.query("alter table main.cities rename name to title");
  await appendIndexMarks(made.db, "main", "city", TEN);
  await made.drained();
  expect(backend.calls).toHaveLength(before);
  expect(await findIndex(made.db, "main", "city")).toMatchObject({
    driftReason: expect.stringContaining("name"),
  });
});

test("whichever statement fails around a backend, in the end it holds what is live", async () => {
  const arrange = async () => {
    const { made, backend } = await external();
    await appendIndexMarks(made.db, "main", "city", ["1", "2"]);
    await made.db.query("insert into main.people values ('c', 1, 'Ada', 1)");
    await made.db.transaction((tx) => markWholeType(tx, "main", "person"));
    return { made, backend };
  };
  const live = ["main/city/1", "main/city/2", 'main/person/["c", "1"]'];
  for (const step of [2, 5, 9, 14, 18, 23, 27, 33]) {
    const { made, backend } = await arrange();
    const failing = watched(made.db, (statement) => {
      if (statement === step) throw fault("08006");
    });
    await made.drained(failing).catch((error: unknown) => {
      expect(error).toMatchObject({ code: "08006" });
    });
    // A lease that could not be given back runs out.
    await made.db.query("update holdfast.index_lanes set leased_until = null");
    await made.drained();
    expect([...backend.held.keys()].toSorted(), `step ${step}`).toEqual(live);
    expect(await marksLeft(made.db), `step ${step}`).toBe(0);
  }
});
