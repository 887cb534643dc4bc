import { expect, test } from "vitest";
import type { Entity, Fields } from "../../contracts/inventory.ts";
import { resolveBranch } from "../../db/inbox-entities.ts";
import { APPLY_ALL, TENANT, targeting, type Targeting } from "../support/targeting.ts";

const entity = (type: string, fields: Fields): Entity => ({ type, fields, warnings: [] });
const box = (no: number, kind = "big") => entity("box", { asset: `a${no}`, kind });
const boxes = (n: number) => Array.from({ length: n }, (_, no) => box(no));
const port = entity("port", { name: "e0", type: "copper", box: { asset: "a0" } });
const ONE_LANE = { concurrency: 1 };
const STEPWISE = { concurrency: 1, combined: false };

const paths = ({ outside }: Targeting) => outside.calls.map(({ path }) => path);
const written = ({ outside }: Targeting) =>
  [...outside.inventory.objects.values()].filter(({ type }) => type === "box").length;
/** Objects that were written more often than their changes say. */
const twice = ({ outside }: Targeting) =>
  [...outside.inventory.writes.values()].filter((n) => n > 1).length;
const count = (states: readonly number[], state: number) =>
  states.filter((one) => one === state).length;
async function errorsOf({ db }: Targeting) {
  const { rows } = await db.query<{ error: { fault: string; message: string } | null }>(
    "select error from holdfast.entities where error is not null order by id",
  );
  return rows.map(({ error }) => error!);
}

test("a batch that the rules let through costs one call, and is all there", async () => {
  const made = await targeting(ONE_LANE);
  await made.take(boxes(20));
  await made.drain();
  expect(paths(made)).toEqual(["bulk-plan-apply/"]);
  expect(await made.states()).toEqual(Array.from({ length: 20 }, () => 3));
  expect(written(made)).toBe(20);
  await made.take(boxes(20));
  await made.drain();
  expect(count(await made.states(), 5)).toBe(20);
  expect(twice(made)).toBe(0);
});

test("without a rule that applies everything nothing is applied before it was planned and approved", async () => {
  const made = await targeting(ONE_LANE);
  await made.settings({ mode: "plan-only", rules: [] });
  await made.take(boxes(3));
  await made.drain();
  expect(paths(made)).toEqual(["bulk-plan/"]);
  expect(await made.states()).toEqual([2, 2, 2]);
  expect(written(made)).toBe(0);
  await made.db.query(
    "update holdfast.entities set approved_hash = plan_hash, decided_by = 'ada', decided_at = now() where id = (select min(id) from holdfast.entities)",
  );
  await made.drain();
  expect(await made.states()).toEqual([3, 2, 2]);
  expect(paths(made)).toEqual(["bulk-plan/", "bulk-plan/", "bulk-apply/"]);
});

test("what changed in the target since it was approved is not applied", async () => {
  const made = await targeting(ONE_LANE);
  await made.take([box(1)]);
  await made.drain();
  await made.settings({ mode: "plan-only", rules: [] });
  await made.take([entity("box", { asset: "a1", role: "main", kind: "small" })]);
  await made.drain();
  await made.db.query("update holdfast.entities set approved_hash = plan_hash where state = 2");
  const object = [...made.outside.inventory.objects.values()].find(({ type }) => type === "box")!;
  (made.outside.inventory.objects as Map<string, typeof object>).set(object.id, {
    ...object,
    data: { ...object.data, role: "spare" },
  });
  await made.drain();
  expect(await made.states()).toEqual([3, 2]);
  expect(await errorsOf(made)).toMatchObject([{ fault: "changed-since-approval" }]);
});

test("one poison in 64 is found by halves, is charged alone, and its siblings land", async () => {
  for (const path of ["bulk-plan/", "bulk-apply/"]) {
    const made = await targeting(STEPWISE, {}, { attempts: 0 });
    await made.take(boxes(64));
    made.outside.fail({
      fault: path === "bulk-plan/" ? "status-500" : "status-400",
      path,
      holding: '"a41"',
    });
    await made.drain();
    const states = await made.states();
    expect(count(states, 3)).toBe(63);
    expect(states[41]).toBe(7);
    expect((await errorsOf(made))[0]!.message).toContain("this went wrong on request");
    expect(made.outside.calls.length).toBeLessThanOrEqual(2 * Math.log2(64) + 3);
    expect(twice(made)).toBe(0);
  }
});

test("an apply that fails with 500 is read back before any of it is sent again", async () => {
  const made = await targeting(STEPWISE, {}, { attempts: 0 });
  await made.take(boxes(16));
  made.outside.fail({ fault: "status-500", path: "bulk-apply/", holding: '"a5"' });
  await made.drain();
  const states = await made.states();
  expect(count(states, 3)).toBe(15);
  expect(states[5]).toBe(7);
  const applies = paths(made).flatMap((path, no) => (path === "bulk-apply/" ? no : []));
  for (const [at, no] of applies.entries()) {
    // Two halves of one reading back follow each other.
    if (at > 1) expect(paths(made).slice(applies[at - 2]! + 1, no)).toContain("bulk-plan/");
  }
  expect(twice(made)).toBe(0);
});

test("an entity that the target refuses for good ends errored after its tries, with the reason", async () => {
  const made = await targeting(STEPWISE, {}, { attempts: 2, firstSeconds: 1 });
  await made.take([box(1)]);
  made.outside.fail({ fault: "status-400", path: "bulk-plan/" });
  for (let tries = 0; tries < 3; tries++) {
    await made.drain();
    await made.forgive();
  }
  expect(await made.states()).toEqual([7]);
  expect(made.outside.calls).toHaveLength(3);
});

for (const fault of ["timeout-after", "reset", "not-json"] as const) {
  for (const combined of [false, true]) {
    test(`an answer that is lost (${fault}${combined ? ", in one call" : ""}) applies once and ends applied`, async () => {
      const made = await targeting({ ...ONE_LANE, combined, requestTimeoutMs: 400 });
      await made.take(boxes(5));
      const path = combined ? "bulk-plan-apply/" : "bulk-apply/";
      made.outside.fail({ fault, path, times: 1 });
      await made.drain();
      await made.forgive();
      await made.drain();
      expect(await made.states()).toEqual([3, 3, 3, 3, 3]);
      expect(written(made)).toBe(5);
      expect(twice(made)).toBe(0);
      const { rows } = await made.db.query<{
        changes: unknown[];
        applied: boolean;
        warnings: unknown;
      }>("select changes, applied_at is not null as applied, warnings from holdfast.change_sets");
      expect(rows).toHaveLength(5);
      expect(rows.every(({ applied }) => applied)).toBe(true);
      // Of one call for both nobody has seen the plan, and that is said.
      expect(
        rows.every(({ changes, warnings }) =>
          combined ? warnings !== null : changes.length === 1,
        ),
      ).toBe(true);
      const { rows: attempts } = await made.db.query(
        "select 1 from holdfast.apply_attempts where ended_at is null",
      );
      expect(attempts).toEqual([]);
    });
  }
}

test("every try of one change set has one key", async () => {
  const made = await targeting({ ...STEPWISE, requestTimeoutMs: 300 });
  await made.take([box(1)]);
  made.outside.fail({ fault: "timeout-before", path: "bulk-apply/", times: 2 });
  for (let tries = 0; tries < 3; tries++) {
    await made.drain();
    await made.forgive();
  }
  const keys = made.outside.calls.flatMap(({ path, key }) => (path === "bulk-apply/" ? key! : []));
  expect(keys).toHaveLength(3);
  expect(new Set(keys).size).toBe(1);
  expect(await made.states()).toEqual([3]);
  const { rows } = await made.db.query("select 1 from holdfast.change_sets");
  expect(rows).toHaveLength(1);
});

test("answers are matched by id, and one that is missing or there twice costs only its own entity", async () => {
  for (const fault of ["wrong-order", "missing-result", "duplicate-ids"] as const) {
    for (const combined of [false, true]) {
      const made = await targeting({ ...ONE_LANE, combined });
      await made.take(boxes(6));
      made.outside.fail({ fault, path: combined ? "bulk-plan-apply/" : "bulk-apply/", times: 1 });
      await made.drain();
      expect(await made.states(), fault).toEqual([3, 3, 3, 3, 3, 3]);
      expect(twice(made)).toBe(0);
    }
  }
});

test("each entity has the plan that was made of it, whatever the order of the answers", async () => {
  for (const combined of [false, true]) {
    const made = await targeting({ ...ONE_LANE, combined });
    await made.take(boxes(6));
    made.outside.fail({ fault: "wrong-order" });
    await made.drain();
    const { rows } = await made.db.query<{ title: string; asset: string }>(
      `select c.title, e.fields ->> 'asset' as asset
         from holdfast.change_sets c join holdfast.entities e on e.id = c.entity`,
    );
    expect(rows).toHaveLength(6);
    for (const { title, asset } of rows) expect(title).toBe(`Box ${asset} created`);
  }
});

test("a plan that is no answer is a failure of its entity, and names it", async () => {
  for (const fault of ["missing-result", "null-change-set"] as const) {
    const made = await targeting(STEPWISE, {}, { attempts: 0 });
    await made.take([box(1)]);
    made.outside.fail({ fault, path: "bulk-plan/", times: 1 });
    await made.drain();
    expect(await made.states()).toEqual([7]);
    const { rows } = await made.db.query<{ id: string }>("select id from holdfast.entities");
    expect((await errorsOf(made))[0]!.message).toMatch(
      new RegExp(`broke the contract: .*entity ${rows[0]!.id}$`),
    );
  }
});

test("207 says for each what came of it: a deadlock is tried again, the rest stands", async () => {
  const made = await targeting(ONE_LANE);
  await made.take(boxes(3));
  made.outside.fail({ fault: "deadlock", times: 1 });
  await made.drain();
  expect(await made.states()).toEqual([9, 9, 9]);
  await made.forgive();
  await made.drain();
  expect(await made.states()).toEqual([3, 3, 3]);
});

test("a target that is away, slow down or no, charges nobody, and is left alone for a while", async () => {
  for (const fault of ["status-503", "status-429"] as const) {
    const made = await targeting(STEPWISE);
    await made.take(boxes(8));
    made.outside.fail({ fault });
    await made.drain();
    expect(made.outside.calls).toHaveLength(1);
    expect(await made.states()).toEqual(Array.from({ length: 8 }, () => 1));
    const { rows } = await made.db.query<{ waits: number; batch_size: number | null }>(
      "select extract(epoch from retry_at - clock_timestamp())::float8 as waits, batch_size from holdfast.targets",
    );
    if (fault === "status-429") expect(rows[0]).toMatchObject({ batch_size: 4 });
    expect(rows[0]!.waits).toBeGreaterThan(fault === "status-429" ? 0.7 : 0.1);
    made.outside.heal();
    await made.forgive();
    await made.drain();
    expect(await made.states()).toEqual(Array.from({ length: 8 }, () => 3));
    const { rows: attempts } = await made.db.query(
      "select 1 from holdfast.entities where attempt > 0",
    );
    expect(attempts).toEqual([]);
  }
});

test("a child that comes before its parent waits, and is woken when the parent is applied", async () => {
  const made = await targeting(ONE_LANE);
  await made.take([port]);
  await made.drain();
  expect(await made.states()).toEqual([9]);
  await made.take([box(0)]);
  await made.drain();
  expect(await made.states()).toEqual([3, 3]);
});

test("without calls for many, entities are asked for one by one, and the end is the same", async () => {
  const made = await targeting({ concurrency: 1, detectAgainMs: 60_000 });
  made.outside.fail({ fault: "no-bulk" });
  await made.take(boxes(5));
  await made.drain();
  expect(await made.states()).toEqual([3, 3, 3, 3, 3]);
  await made.take([box(7)]);
  const before = made.outside.calls.length;
  await made.drain();
  expect(paths(made).slice(before)).toEqual(["generate-diff/", "apply-change-set/"]);
});

test("calls for many that were absent are tried again when it is time", async () => {
  const made = await targeting({ concurrency: 1, detectAgainMs: 1 });
  made.outside.fail({ fault: "no-bulk", times: 3 });
  await made.take([box(1)]);
  await made.drain();
  await made.take([box(2)]);
  const before = made.outside.calls.length;
  await made.drain();
  expect(paths(made).slice(before)).toEqual(["bulk-plan-apply/"]);
});

test("a token is got once for all calls, and once more when it is refused", async () => {
  const made = await targeting({ concurrency: 4, batchSize: 2 });
  await made.take(boxes(40));
  await made.drain();
  expect(made.outside.tokens()).toBe(1);
  made.outside.fail({ fault: "stale-token" });
  await made.take([box(50)]);
  await made.drain().catch(() => undefined);
  expect(made.outside.tokens()).toBe(2);
});

test("neither secret nor token is in what is stored or thrown", async () => {
  const made = await targeting({
    auth: {
      tokenUrl: "http://127.0.0.1:1/token/",
      clientId: "holdfast",
      clientSecret: "hush-hush",
    },
  });
  await made.take([box(1)]);
  await made.drain();
  const { rows } = await made.db.query<{ error: string }>("select error from holdfast.targets");
  expect(rows[0]!.error).toContain("no token from 127.0.0.1:1");
  expect(JSON.stringify(rows)).not.toContain("hush-hush");
  expect(await made.states()).toEqual([1]);
});

test("of one identity the older version is applied first, however many lanes and batches there are", async () => {
  const made = await targeting({ concurrency: 4, batchSize: 3 });
  const kinds = ["big", "small", "big", "small", "big"];
  await made.take(kinds.flatMap((kind) => Array.from({ length: 6 }, (_, no) => box(no, kind))));
  await made.drain();
  expect(count(await made.states(), 3)).toBe(30);
  for (const { type, data } of made.outside.inventory.objects.values()) {
    if (type === "box") expect(data["kind"]).toBe("big");
  }
});

test("what contradicts another is not planned beside it", async () => {
  const made = await targeting(ONE_LANE);
  const owned = (no: number, level: number) =>
    entity("box", {
      name: `b${no}`,
      kind: "big",
      place: { name: "p1" },
      owner: { name: "o1", level },
    });
  await made.take([owned(1, 1), owned(2, 2), owned(3, 1)]);
  await made.drain();
  const owner = [...made.outside.inventory.objects.values()].find(({ type }) => type === "owner");
  expect(owner?.data["level"]).toBe(1);
  expect(made.outside.calls.map(({ entities }) => entities)).toEqual([1, 1, 1]);
});

test("one object under two names is not changed out of order, though only the target knows both", async () => {
  for (const combined of [false, true]) {
    const made = await targeting({ concurrency: 1, combined });
    const named = { name: "b1", place: { name: "p1" } };
    await made.take([entity("box", { asset: "a1", kind: "big", ...named })]);
    await made.drain();
    await made.take([
      entity("box", { asset: "a1", kind: "small" }),
      entity("box", { ...named, kind: "big" }),
      entity("box", { asset: "a1", kind: "huge" }),
      entity("box", { ...named, kind: "huge", size: 2 }),
    ]);
    await made.drain();
    const object = [...made.outside.inventory.objects.values()].find(({ type }) => type === "box");
    expect(object?.data).toMatchObject({ kind: "huge", size: 2 });
    expect(await made.states()).toEqual([3, 3, 3, 3, 3]);
  }
});

test("objects with two names each are created in few calls", async () => {
  const made = await targeting({ ...STEPWISE, batchSize: 20 });
  const named = (no: number, kind: string) =>
    entity("box", { asset: `a${no}`, name: `b${no}`, place: { name: "p1" }, kind });
  const all = (kind: string) => Array.from({ length: 20 }, (_, no) => named(no, kind));
  await made.take([entity("place", { name: "p1" })]);
  await made.drain();
  await made.take(all("big"));
  const before = made.outside.calls.length;
  await made.drain();
  expect(paths(made).slice(before)).toEqual(["bulk-plan/", "bulk-apply/"]);
  await made.take(all("small"));
  const again = made.outside.calls.length;
  await made.drain();
  expect(paths(made).slice(again)).toEqual(["bulk-plan/", "bulk-apply/"]);
  expect(count(await made.states(), 3)).toBe(41);
});

test("what was rejected once stays rejected, though the rules apply everything", async () => {
  const made = await targeting(ONE_LANE);
  await made.take([box(1)]);
  await made.drain();
  await made.settings({ mode: "plan-only", rules: [] });
  await made.take([box(1, "small")]);
  await made.drain();
  expect(await made.states()).toEqual([3, 2]);
  await made.db.query(
    "update holdfast.entities set state = 6, decided_by = 'ada', decided_at = now(), settled_at = now() where state = 2",
  );
  await made.settings(APPLY_ALL);
  await made.take([box(1, "big"), box(1, "small")]);
  await made.drain();
  expect(await made.states()).toEqual([3, 6, 5, 6]);
  const { rows } = await made.db.query<{ rule: string }>(
    "select rule from holdfast.entities where state = 6 order by id desc limit 1",
  );
  expect(rows).toEqual([{ rule: "decided before by ada" }]);
});

test("what gets its branch late is not applied over a newer version of it", async () => {
  for (const combined of [false, true]) {
    const made = await targeting({ concurrency: 1, combined });
    await made.take([box(1, "small"), box(1, "big")]);
    await made.db.query(
      "update holdfast.entities set branch = null where id = (select min(id) from holdfast.entities)",
    );
    await made.drain();
    expect(await made.states()).toEqual([1, 3]);
    await resolveBranch(made.db, TENANT, "main");
    await made.drain();
    expect(await made.states()).toEqual([2, 3]);
    const object = [...made.outside.inventory.objects.values()].find(({ type }) => type === "box");
    expect(object?.data["kind"]).toBe("big");
  }
});

test("the branch of an entity goes with its calls", async () => {
  const made = await targeting(ONE_LANE);
  await made.take([{ ...box(1), branch: "schema12" }, box(2)]);
  await made.drain();
  expect(new Set(made.outside.calls.map(({ branch }) => branch))).toEqual(
    new Set([undefined, "schema12"]),
  );
  expect(await made.states()).toEqual([3, 3]);
  expect(TENANT).toBe("a");
});
