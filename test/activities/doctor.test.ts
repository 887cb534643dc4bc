import { expect, onTestFinished, test } from "vitest";
import { examine } from "../../activities/doctor.ts";
import { connect, type Holdfast } from "../../client/index.ts";
import { ensureBank } from "../../db/banks.ts";
import { lockDocuments, touchDocuments } from "../../db/documents.ts";
import { finishOperation } from "../../db/finish.ts";
import { insertDerived, insertParts } from "../../db/parts.ts";
import { operationIdBound } from "../../db/partitions.ts";
import type { Db } from "../../db/pool.ts";
import { testDatabase } from "../support/database.ts";

/** Every test begins in a healthy installation and breaks one thing in it. */
async function setup(): Promise<{ holdfast: Holdfast; db: Db; ended: string; waiting: string }> {
  const database = await testDatabase();
  const holdfast = connect({ databaseUrl: database.url });
  onTestFinished(async () => {
    await holdfast.close();
    await database.drop();
  });
  const { db } = holdfast;
  const items = [1, 2, 3].map((n) => ({ content: `Ada met Grace. Note ${n}.` }));
  const { id: ended } = await holdfast.retain.submit({ bank: "notes", items });
  await db.transaction((tx) =>
    finishOperation(tx, {
      id: ended,
      generation: 1,
      outcome: "failed",
      reason: "test",
      by: "test",
    }),
  );
  const { id: waiting } = await holdfast.retain.submit({ bank: "notes", items });
  await writePart(db);
  expect(await found(db)).toEqual([]);
  return { holdfast, db, ended, waiting };
}

const NOBODY = "00000000-0000-7000-8000-000000000000";

async function writePart(db: Db): Promise<void> {
  await db.transaction(async (tx) => {
    const bankId = await ensureBank(tx, "default", "notes");
    await lockDocuments(tx, bankId, ["d1"]);
    await touchDocuments(tx, bankId, [{ documentId: "d1", headSeq: 900n }]);
    await insertParts(tx, bankId, [
      {
        seq: "900",
        documentId: "d1",
        operationId: NOBODY,
        itemNo: 1,
        mode: "replace",
        digest: Buffer.from("d"),
        extractor: "test@1/1000",
        context: null,
        happenedAt: null,
        tags: [],
        metadata: {},
        size: 9,
        chunkCount: 1,
        factCount: 1,
      },
    ]);
    const chunks = [{ no: 0, start: 0, end: 9, text: "Ada wrote" }];
    const facts = [{ chunkNo: 0, ordinal: 0, text: "Ada wrote", entities: ["Ada"] }];
    await insertDerived(tx, bankId, [{ seq: "900", chunks, facts }]);
    await tx.query(
      `with o as (
         insert into holdfast.observations (bank_id, entity, name, text, consolidator)
         values ($1, 'ada', 'Ada', 'Ada wrote', 'test') returning id)
       insert into holdfast.observation_sources select id, 900, 0, 0 from o`,
      [bankId],
    );
  });
}

/** What is found without Temporal, as `check: subject` lines. */
async function found(db: Db): Promise<string[]> {
  const { findings, checks } = await examine({ db, repair: false });
  const failed = checks.filter(({ notDone }) => notDone && !/no Temporal/.test(notDone));
  expect(failed).toEqual([]);
  return findings.map(({ check, subject }) => `${check}: ${subject}`);
}

async function repaired(db: Db): Promise<(string | undefined)[]> {
  const { findings } = await examine({ db, repair: true });
  expect(findings.filter(({ left }) => left)).toEqual([]);
  return findings.map(({ did }) => did);
}

interface Broken {
  title: string;
  /** Breaks it; `$1` is the operation named. */
  by: string;
  of?: "ended" | "waiting";
  finds: string;
  mends: RegExp;
}

const BREAKS: Broken[] = [
  {
    title: "an accepted row that lost all it was accepted with is failed, to be submitted again",
    of: "waiting",
    by: `with i as (delete from holdfast.items where operation_id = $1),
              b as (delete from holdfast.sub_batches where operation_id = $1)
         delete from holdfast.payloads where operation_id = $1`,
    finds: "never-fully-submitted: operation $1",
    mends: /^failed it$/,
  },
  {
    title: "rows of an operation that does not exist are deleted",
    by: `insert into holdfast.items (operation_id, no, batch, size)
         select '${operationIdBound(Date.now())}', no, 1, 1 from generate_series(1, 3) no`,
    finds: `children-without-parent: items of ${operationIdBound(Date.now()).slice(0, 4)}`,
    mends: /^deleted 3 rows$/,
  },
  {
    title: "an open item of an ended operation is settled as lost",
    of: "ended",
    by: `with o as (delete from holdfast.outcomes where operation_id = $1 and item_no = 2)
         insert into holdfast.progress_deltas values ($1, 'test', 'retain', 'failed', -1)`,
    finds: "open-item-of-terminal: operation $1",
    mends: /^settled 1 item as lost$/,
  },
  {
    title: "an outcome without an item is deleted",
    of: "ended",
    by: `with o as (insert into holdfast.outcomes (operation_id, item_no, generation, outcome)
                    values ($1, 9, 1, 'succeeded'))
         insert into holdfast.progress_deltas values ($1, 'test', 'retain', 'succeeded', 1)`,
    finds: "outcome-without-item: operation $1",
    mends: /^deleted 1 outcome$/,
  },
  {
    title: "progress that differs from the ledger is brought into line",
    of: "ended",
    by: `insert into holdfast.progress_deltas values ($1, 'test', 'retain', 'succeeded', 7)`,
    finds: "progress-drift: operation $1",
    mends: /^added the difference$/,
  },
  {
    title: "a page in flight of an ended operation is forgotten",
    of: "ended",
    by: `insert into holdfast.flights (operation_id, generation, range_no, items, alone, worker)
         values ($1, 1, 1, '{1}', false, 'w')`,
    finds: "flight-of-terminal: operation $1",
    mends: /^forgot 1 page$/,
  },
  {
    title: "chunks without a part are deleted",
    by: `insert into holdfast.chunks values (901, 0, 0, 1, 'x')`,
    finds: "derived-without-part: part 901",
    mends: /^deleted them$/,
  },
  {
    title: "facts and entities without a part are deleted",
    by: `with f as (insert into holdfast.facts (part_seq, chunk_no, ordinal, bank_id, text)
                    values (902, 0, 0, 1, 'x'))
         insert into holdfast.fact_entities values (902, 0, 0, 1, 'x', 'X')`,
    finds: "derived-without-part: part 902",
    mends: /^deleted them$/,
  },
  {
    title: "a part whose document lost its row gets it back",
    by: `delete from holdfast.documents where document_id = 'd1'`,
    finds: "part-without-document: part 900",
    mends: /^made the document's row$/,
  },
  {
    title: "an observation whose fact is gone is deleted, and its entity consolidated again",
    by: `with f as (update holdfast.document_parts set facts = 0 where seq = 900),
              e as (delete from holdfast.fact_entities where part_seq = 900)
         delete from holdfast.facts where part_seq = 900`,
    finds: "observation-without-fact: observation 1",
    mends: /^deleted it and marked its entity$/,
  },
  {
    title: "staged work of an item whose operation ended is deleted",
    of: "ended",
    by: `with op as (update holdfast.operations set finished_at = finished_at - interval '10 minutes'
                      where id = $1)
         insert into holdfast.staged_parts
           (part_seq, operation_id, item_no, bank_id, extractor, chunk_size)
         values (903, $1, 1, 1, 'test', 1000)`,
    finds: "staged-of-settled: staged part 903",
    mends: /^deleted the staged work$/,
  },
  {
    title: "a worker that vanished is forgotten",
    by: `insert into holdfast.workers values
           ('${NOBODY}', 'w', '1', now(), now() - interval '3 minutes')`,
    finds: `worker-vanished: worker ${NOBODY}`,
    mends: /^forgot it$/,
  },
  {
    title: "a missing partition is made",
    by: `do $$ declare name text; begin
           select relname into name from pg_class where relname ~ '^items_[0-9]{8}$'
            order by relname offset 1 limit 1;
           execute format('drop table holdfast.%I', name); end $$`,
    finds: "partition-missing: table items",
    mends: /^made the partitions$/,
  },
];

for (const { title, by, of, finds, mends } of BREAKS) {
  test(title, async () => {
    const { db, ...ids } = await setup();
    const id = of && ids[of];
    await db.query(by, id ? [id] : []);

    const lines = await found(db);
    expect(lines).toEqual([expect.stringContaining(finds.replace("$1", id ?? ""))]);
    // Looking changes nothing.
    expect(await found(db)).toEqual(lines);

    expect(await repaired(db)).toEqual([expect.stringMatching(mends)]);
    expect(await found(db)).toEqual([]);
  });
}

const UNMENDABLE: Omit<Broken, "mends">[] = [
  {
    title: "an operation that lost some of its items is reported, and left to a person",
    of: "ended",
    by: `with o as (delete from holdfast.outcomes where operation_id = $1 and item_no = 3),
              p as (insert into holdfast.progress_deltas values ($1, 'test', 'retain', 'failed', -1))
         delete from holdfast.items where operation_id = $1 and no = 3`,
    finds: "missing-children: operation $1",
  },
  {
    title: "an outcome of a generation to come is reported",
    of: "ended",
    by: `insert into holdfast.outcomes (operation_id, item_no, generation, outcome)
         values ($1, 3, 4, 'failed')`,
    finds: "outcome-of-newer-generation: operation $1",
  },
  {
    title: "a part that lost a chunk is reported",
    by: `delete from holdfast.chunks where part_seq = 900`,
    finds: "incomplete-part: part 900",
  },
  {
    title: "a table that nothing keeps small is reported",
    by: `create table holdfast.scribbles (at timestamptz)`,
    finds: "table-without-retention: table scribbles",
  },
  {
    title: "an operation that no relay starts is reported",
    of: "waiting",
    by: `with w as (insert into holdfast.workers values ('${NOBODY}', 'w', '1'))
         update holdfast.operations set due_at = now() - interval '2 minutes' where id = $1`,
    finds: "relay-lag: operation $1",
  },
  {
    title:
      "an operation whose starts do not take is reported, though its next one is in the future",
    of: "waiting",
    by: `update holdfast.operations set start_attempts = 6, due_at = now() + interval '60 seconds'
          where id = $1`,
    finds: "relay-lag: operation $1",
  },
];

for (const { title, by, of, finds } of UNMENDABLE) {
  test(title, async () => {
    const { db, ...ids } = await setup();
    const id = of && ids[of];
    await db.query(by, id ? [id] : []);
    expect(await found(db)).toEqual([finds.replace("$1", id ?? "")]);
    const { findings } = await examine({ db, repair: true });
    expect(findings.map(({ left, did }) => ({ left, did }))).toEqual([{ left: true }]);
  });
}

test("work that may not start is idle, not late", async () => {
  const { db, holdfast, waiting } = await setup();
  const late = () =>
    db.query("update holdfast.operations set due_at = now() - interval '1 hour' where id = $1", [
      waiting,
    ]);
  await db.query(`insert into holdfast.workers values ('${NOBODY}', 'w', '1')`);
  await late();

  await holdfast.operation.pause(waiting, "incident");
  expect(await found(db)).toEqual([]);
  await holdfast.operation.resume(waiting);

  await holdfast.brake.set("kind", "retain", "incident");
  expect(await found(db)).toEqual([]);
  await holdfast.brake.lift("kind", "retain");

  const limits = { maxRunningPerScope: 0 };
  expect((await examine({ db, repair: false, limits })).findings).toEqual([]);

  await late();
  expect(await found(db)).toEqual([`relay-lag: operation ${waiting}`]);
});

test("due marks are nobody's fault without a worker, and late with one that does not drain them", async () => {
  const { db } = await setup();
  await db.query(
    `insert into holdfast.marks (queue, scope, key, due_at)
     values ('consolidate', '1', 'entity/ada', now() - interval '11 minutes')`,
  );
  await db.query("update holdfast.drains set wake_at = now() + interval '1 hour'");
  expect(await found(db)).toEqual(["no-worker: workers"]);

  await db.query(`insert into holdfast.workers values ('${NOBODY}', 'w', '1')`);
  expect(await found(db)).toEqual(["overdue-marks: queue consolidate"]);

  await db.query("update holdfast.drains set seen_at = now()");
  expect(await found(db)).toEqual([]); // it is at work, and not far behind

  await db.query("update holdfast.drains set seen_at = null");
  const { findings } = await examine({ db, repair: true });
  expect(findings).toMatchObject([{ did: "woke its drain", left: true }]);
  const { rows } = await db.query<{ due: boolean }>(
    "select wake_at <= now() as due from holdfast.drains where queue = 'consolidate'",
  );
  expect(rows).toEqual([{ due: true }]);
});

test("marks of the search index that nobody drains are late, and wait for a worker when there is none", async () => {
  const { db } = await setup();
  await db.query(
    `insert into holdfast.index_marks (lane, schema_name, type, keys, at)
     values (2, 'public', 'site', '{1}', now() - interval '11 minutes')`,
  );
  await db.query("update holdfast.drains set wake_at = now() + interval '1 hour'");
  expect(await found(db)).toEqual(["no-worker: workers"]);
  const { findings: missing } = await examine({ db, repair: false });
  expect(missing[0]!.message).toContain("marks of written objects that search does not find yet");

  await db.query(`insert into holdfast.workers values ('${NOBODY}', 'w', '1')`);
  expect(await found(db)).toEqual(["overdue-index-marks: queue index"]);
  const { findings } = await examine({ db, repair: true });
  expect(findings).toMatchObject([{ did: "woke its drain", left: true }]);

  await db.query("update holdfast.drains set seen_at = now()");
  expect(await found(db)).toEqual([]); // it is at work, and not far behind

  await db.query("update holdfast.drains set seen_at = null");
  await db.query(
    "insert into holdfast.brakes (applies_to, name, reason, set_by) values ('scope', 'public', 'x', 'x')",
  );
  expect(await found(db)).toEqual([]); // held back on purpose
});

test("deliveries that nobody sends are late", async () => {
  const { db } = await setup();
  await db.query(
    `with w as (insert into holdfast.webhooks (id, tenant, url, events, created_by)
                values ('${NOBODY}', 'default', 'https://a.example', '{}', 'test') returning id),
          e as (insert into holdfast.events (id, type, tenant, body)
                values ('${NOBODY}', 'operation.finished', 'default', '{}') returning id)
     insert into holdfast.deliveries (event_id, webhook_id, tenant, due_at)
     select e.id, w.id, 'default', now() - interval '11 minutes' from e, w`,
  );
  await db.query(`insert into holdfast.workers values ('${NOBODY}', 'w', '1')`);
  expect(await found(db)).toEqual(["overdue-deliveries: queue deliver"]);
  await db.query("update holdfast.deliveries set due_at = now() + interval '1 minute'");
  expect(await found(db)).toEqual([]);
});

test("rows in a default partition are moved to the partition of their week", async () => {
  const { db, ended } = await setup();
  const { rows } = await db.query<{ name: string }>(
    "select tableoid::regclass::text as name from holdfast.items where operation_id = $1 limit 1",
    [ended],
  );
  const partition = rows[0]!.name;
  const count = async () =>
    (await db.query<{ n: number }>("select count(*)::int as n from holdfast.items")).rows[0]!.n;
  const before = await count();
  // As it is when upkeep came too late: the week has no partition, its rows are in the default one.
  await db.query(`
    create temp table kept as select * from ${partition};
    drop table ${partition};
    insert into holdfast.items overriding system value select * from kept;
    drop table kept`);
  expect(await found(db)).toEqual([
    "partition-missing: table items",
    "default-partition-holds-rows: default partitions",
  ]);

  const { findings } = await examine({ db, repair: true });
  expect(findings.map(({ left }) => left)).toEqual([false, false]);
  expect(await found(db)).toEqual([]);
  expect(await count()).toBe(before);
});

test("rows of a week gone by leave the default partition, those of a wrong clock stay there", async () => {
  const { db, ended } = await setup();
  const day = 86_400_000;
  await db.query(
    `insert into holdfast.logs (at, operation_id, level, message)
     values (now() - interval '5 days', $1, 'info', 'late'), ('2099-01-01', $1, 'info', 'wrong')`,
    [ended],
  );
  await db.query(
    `insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n)
     values ($1, 'a', 'b', 'c', 0)`,
    [operationIdBound(Date.now() - 100 * day)],
  );
  const { findings } = await examine({ db, repair: true });
  expect(findings).toMatchObject([
    { did: "moved 2 rows; 1 are of a time that no partition is made for", left: true },
  ]);
  expect(findings[0]!.message).toMatch(/1 in progress_deltas, 2 in logs/);
});

test("a transaction that idles is named with its process", async () => {
  const { db } = await setup();
  await db.transaction(async (tx) => {
    const { rows } = await tx.query<{ pid: number }>("select pg_backend_pid() as pid");
    const limits = { idleInTransactionMs: 0 };
    const { findings } = await examine({ db, repair: false, limits });
    expect(findings.map(({ subject }) => subject)).toEqual([`connection ${rows[0]!.pid}`]);
  });
});

test("a finding is one event when it is news, has an age, and is resolved when it is gone", async () => {
  const { db } = await setup();
  const events = async () =>
    (await db.query("select 1 from holdfast.events where type = 'doctor.finding'")).rows.length;
  const orphan = "insert into holdfast.chunks values (901, 0, 0, 1, 'x')";
  await db.query(orphan);
  const [first] = (await examine({ db, repair: false })).findings;
  const [second] = (await examine({ db, repair: false })).findings;
  expect(second!.since).toEqual(first!.since);
  expect(await events()).toBe(1);

  await repaired(db);
  await db.query(orphan);
  const [again] = (await examine({ db, repair: false })).findings;
  expect(again!.since.getTime()).toBeGreaterThan(first!.since.getTime());
  expect(await events()).toBe(2);
});

test("a check that fails is said to be not done, resolves nothing and hinders no other", async () => {
  const { db } = await setup();
  await db.query("insert into holdfast.chunks values (901, 0, 0, 1, 'x')");
  expect(await found(db)).toHaveLength(1);
  await db.query("alter table holdfast.staged_parts rename to staged_parts_away");
  const { findings, checks } = await examine({ db, repair: true });
  expect(findings.map(({ check }) => check)).toEqual([
    "table-without-retention",
    "table-without-retention",
  ]);
  expect(
    checks.filter(({ notDone }) => /staged_parts/.test(notDone ?? "")).map(({ name }) => name),
  ).toEqual(["derived-without-part", "staged-of-settled"]);
  const { rows } = await db.query(
    "select 1 from holdfast.findings where check_name = 'derived-without-part' and resolved_at is null",
  );
  expect(rows).toHaveLength(1);
});
