import { expect, test } from "vitest";
import { HoldfastError } from "../../contracts/errors.ts";
import type { JobItem, JobSubmit } from "../../contracts/job.ts";
import type { Db } from "../../db/pool.ts";
import { fresh } from "../support/fresh.ts";
import { begin } from "../support/jobs.ts";
import { snapshotOf } from "../support/snapshot.ts";

const line = (value: unknown) => `${JSON.stringify(value)}\n`;

async function* upload(...chunks: (string | Uint8Array)[]) {
  yield* chunks;
}

const items = (n: number): JobItem[] =>
  Array.from({ length: n }, (_, at) => ({ key: `file-${at + 1}`, payload: { n: at + 1 } }));

async function stored(db: Db, id: string) {
  const { rows } = await db.query<{
    no: number;
    key: string;
    batch: number;
    content: string | null;
    reference: string | null;
  }>(
    `select i.no, i.key, i.batch, p.content, p.meta->>'reference' as reference
       from holdfast.items i
       left join holdfast.payloads p on p.operation_id = i.operation_id and p.item_no = i.no
      where i.operation_id = $1 order by i.no`,
    [id],
  );
  return rows;
}

async function refused(work: Promise<unknown>): Promise<HoldfastError> {
  const error: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(HoldfastError);
  return error as HoldfastError;
}

test("a job stands with its items, payloads, references and batches in one transaction", async () => {
  const { db, holdfast } = await fresh();
  const accepted = await holdfast.job.submit({
    pipeline: "thumbnails",
    items: [
      { key: "a", payload: { size: 1, name: 'ä\\"🦀' } },
      { key: "b", reference: "s3://bucket/b" },
      { payload: null },
      {},
      { key: "e", payload: [1], reference: "both" },
    ],
    options: { batchSize: 2 },
  });
  expect(accepted).toMatchObject({ kind: "job", state: "accepted", total: 5, batches: 3 });
  expect(await stored(db, accepted.id)).toEqual([
    { no: 1, key: "a", batch: 1, content: '{"size":1,"name":"ä\\\\\\"🦀"}', reference: null },
    { no: 2, key: "b", batch: 1, content: "", reference: "s3://bucket/b" },
    { no: 3, key: "", batch: 2, content: "null", reference: null },
    { no: 4, key: "", batch: 2, content: null, reference: null },
    { no: 5, key: "e", batch: 3, content: "[1]", reference: "both" },
  ]);
  await begin(db, accepted.id, 1);
  const { batches } = await holdfast.job.claim({
    pipelines: ["thumbnails"],
    worker: "w",
    limit: 2,
  });
  expect(batches.map((batch) => batch.items)).toEqual([
    [
      { item: 1, key: "a", payload: { size: 1, name: 'ä\\"🦀' } },
      { item: 2, key: "b", reference: "s3://bucket/b" },
    ],
    [
      { item: 3, key: "", payload: null },
      { item: 4, key: "" },
    ],
  ]);
});

test("an upload of lines is the same job as a call with the same items", async () => {
  const { db, holdfast } = await fresh();
  const lines = upload("\ufeff", ...items(40).map(line), "\n", line({ reference: "r" }));
  const header = { pipeline: "p", key: "once", options: { batchSize: 7 } };
  const first = await holdfast.job.submitLines(header, lines);
  expect(first).toMatchObject({ total: 41, batches: 6, existing: false });
  const again = await holdfast.job.submit({ ...header, items: [...items(40), { reference: "r" }] });
  expect(again).toMatchObject({ id: first.id, existing: true });
  expect((await stored(db, first.id)).map((item) => item.key).slice(0, 40)).toEqual(
    items(40).map((item) => item.key),
  );
  const other = { ...header, items: [...items(40), { reference: "other" }] };
  expect((await refused(holdfast.job.submit(other))).code).toBe("key-reused");
});

test("a key used at the same time by many makes one job", async () => {
  const { db, holdfast } = await fresh();
  const job = { pipeline: "p", key: "once", items: items(30) };
  const all = await Promise.all(Array.from({ length: 8 }, () => holdfast.job.submit(job)));
  expect(new Set(all.map(({ id }) => id)).size).toBe(1);
  expect(all.filter(({ existing }) => !existing)).toHaveLength(1);
  const { rows } = await db.query("select from holdfast.jobs");
  expect(rows).toHaveLength(1);
});

test("inside the caller's transaction nothing exists unless they commit", async () => {
  const { db, holdfast } = await fresh();
  const before = await snapshotOf(db);
  const job = { pipeline: "p", items: items(3) };
  await db
    .transaction(async (tx) => {
      await holdfast.job.submit(job, { tx });
      const bad = { ...job, items: [{ key: "\0" }] };
      expect((await refused(holdfast.job.submit(bad, { tx }))).code).toBe("invalid-input");
      const { rows } = await tx.query("select from holdfast.jobs");
      expect(rows).toHaveLength(1);
      throw new Error("changed my mind");
    })
    .catch(() => undefined);
  expect(await snapshotOf(db)).toEqual(before);
});

test("what is wrong with a job is told by its place, and nothing is written", async () => {
  const { db, holdfast } = await fresh({
    jobs: { collectors: { files: { collect: () => ({ items: [] }) } } },
  });
  const before = await snapshotOf(db);
  const good = { key: "good" };
  const cases: [string, unknown, RegExp, number?][] = [
    ["no pipeline", { items: [] }, /^pipeline: /],
    ["a blank pipeline", { pipeline: " ", items: [] }, /^pipeline: must be 1 to 100/],
    ["neither items nor collector", { pipeline: "p" }, /^items: send either/],
    ["both", { pipeline: "p", items: [], collector: "files" }, /^items: send either/],
    ["items that are none", { pipeline: "p", items: "x" }, /^items: /],
    ["an item that is none", { pipeline: "p", items: [good, 7] }, /^items\[1\]: /],
    [
      "too large a payload",
      { pipeline: "p", items: [good, good, good, { payload: "x".repeat(20_000) }] },
      /^items\[3\]\.payload: must be at most 16384 bytes as JSON; send a reference/,
    ],
    [
      "a NUL in a payload",
      { pipeline: "p", items: [{ payload: { a: ["\0"] } }] },
      /^items\[0\]\.payload: .*NUL/,
    ],
    [
      "an unknown field",
      { pipeline: "p", items: [{ kye: "x" }] },
      /^items\[0\]: unknown field kye/,
    ],
    ["an unknown option", { pipeline: "p", items: [], options: { wieght: 1 } }, /wieght/],
    ["no priority", { pipeline: "p", items: [], options: { priority: 0 } }, /^options\.priority/],
    ["half a batch", { pipeline: "p", items: [], options: { batchSize: 0.5 } }, /batchSize/],
    ["no lease", { pipeline: "p", items: [], options: { leaseSeconds: 0 } }, /leaseSeconds/],
    ["options that are none", { pipeline: "p", items: [], options: "fast" }, /^options: /],
    [
      "an unknown collector",
      { pipeline: "p", collector: "filse" },
      /^collector: there is no collector "filse": holdfast.config.ts has files/,
    ],
    ["nothing at all", null, /^input: /],
    [
      "an input that cannot be stored",
      { pipeline: "p", collector: "files", collect: Array.from({ length: 8_000 }, () => 1) },
      /^collect: /,
    ],
  ];
  for (const [what, job, message] of cases) {
    const error = await refused(holdfast.job.submit(job as JobSubmit));
    expect(error.message, what).toMatch(message);
    expect(error.status, what).toBe(400);
  }
  const lines: [string, string[], RegExp][] = [
    ["not JSON", [line(good), "{"], /^line 2: is not JSON/],
    ["no item", [line(good), "\n", "7\n"], /^line 3: /],
    ["a payload", [line(good), line({ payload: "x".repeat(20_000) })], /^line 2: payload: must/],
  ];
  const tooLong = [line(good), `{"key":"${"x".repeat(70_000)}`, "x".repeat(1_000_000)];
  lines.push(["a line without an end", tooLong, /^line 2: is longer than 65536 bytes/]);
  for (const [what, chunks, message] of lines) {
    const error = await refused(holdfast.job.submitLines({ pipeline: "p" }, upload(...chunks)));
    expect(error.message, what).toMatch(message);
  }
  const many = Array.from({ length: 1_000_001 }, () => good);
  const error = await refused(holdfast.job.submit({ pipeline: "p", items: many }));
  expect([error.status, error.message]).toEqual([
    413,
    "items: a job holds at most 1000000 items; split the job",
  ]);
  expect(await snapshotOf(db)).toEqual(before);
});

test("shuffled items are all there once, each with its own payload, in another order", async () => {
  const { db, holdfast } = await fresh();
  for (const submit of [
    () => holdfast.job.submit({ pipeline: "p", items: items(200), options: { shuffle: true } }),
    () =>
      holdfast.job.submitLines(
        { pipeline: "p", options: { shuffle: true } },
        upload(...items(200).map(line)),
      ),
  ]) {
    const { id } = await submit();
    const rows = await stored(db, id);
    for (const { key, content } of rows) expect(content).toBe(`{"n":${key.slice(5)}}`);
    const keys = rows.map((row) => row.key);
    expect(keys.toSorted()).toEqual(
      items(200)
        .map((item) => item.key!)
        .toSorted(),
    );
    expect(keys).not.toEqual(items(200).map((item) => item.key));
  }
});

test("a limit takes the first items, or, shuffled, any", async () => {
  const { db, holdfast } = await fresh();
  const first = await holdfast.job.submit({
    pipeline: "p",
    items: items(100),
    options: { limit: 30, batchSize: 20 },
  });
  expect(first).toMatchObject({ total: 30, batches: 2 });
  expect((await stored(db, first.id)).map((row) => row.key)).toEqual(
    items(30).map((item) => item.key),
  );
  const any = await holdfast.job.submit({
    pipeline: "p",
    items: items(100),
    options: { limit: 30, shuffle: true },
  });
  const rows = await stored(db, any.id);
  for (const { key, content } of rows) expect(content).toBe(`{"n":${key.slice(5)}}`);
  expect(new Set(rows.map((row) => row.key)).size).toBe(30);
  expect(rows.some((row) => Number(row.key.slice(5)) > 30)).toBe(true);
  const { rows: payloads } = await db.query(
    "select from holdfast.payloads where operation_id = $1",
    [any.id],
  );
  expect(payloads).toHaveLength(30);
});

test("settings come from the call, then the configuration, then the stated defaults", async () => {
  const { db, holdfast } = await fresh({
    jobs: { defaults: { leaseSeconds: 30, weight: 3, deliveries: 5 } },
  });
  const settings = async (options?: JobSubmit["options"]) => {
    const { id } = await holdfast.job.submit({
      pipeline: "p",
      items: [],
      ...(options ? { options } : {}),
    });
    const { rows } = await db.query(
      `select weight, batch_size, lease_seconds, heartbeat_seconds, deliveries, max_failed_share
         from holdfast.jobs where operation_id = $1`,
      [id],
    );
    return rows[0];
  };
  expect(await settings()).toEqual({
    weight: 12,
    batch_size: 24,
    lease_seconds: 30,
    heartbeat_seconds: 60,
    deliveries: 5,
    max_failed_share: 0.5,
  });
  expect(
    await settings({ weight: 1, priority: 1, leaseSeconds: 10, maxFailedShare: 0, batchSize: 1 }),
  ).toEqual({
    weight: 16,
    batch_size: 1,
    lease_seconds: 10,
    heartbeat_seconds: 60,
    deliveries: 5,
    max_failed_share: 0,
  });
});

test("a caller of some tenants submits for those alone", async () => {
  const { holdfast } = await fresh();
  const caller = holdfast.as({ actor: "a", tenants: ["mine", "ours"] });
  const job = { pipeline: "p", items: items(1) };
  expect((await refused(caller.job.submit(job))).code).toBe("not-found");
  expect((await refused(caller.job.submit({ ...job, tenant: "theirs" }))).code).toBe("not-found");
  const { id } = await caller.job.submit({ ...job, tenant: "ours" });
  expect((await holdfast.job.get(id)).tenant).toBe("ours");
});
