import { expect, test } from "vitest";
import type { JobView } from "../../contracts/job.ts";
import { postResults } from "../../db/job-post.ts";
import { openDb, type Db } from "../../db/pool.ts";
import { begin, claimed, results, type Held } from "../support/jobs.ts";
import { setupCli } from "./support.ts";

const cli = setupCli();
const lines = (n: number) =>
  Array.from({ length: n }, (_, no) => `{"key":"item-${no + 1}","payload":{"n":${no + 1}}}\n`).join(
    "",
  );

async function submitted(items: number, ...flags: string[]): Promise<string> {
  const line = ["job", "submit", "-", "--pipeline", "p", "--json", ...flags];
  const ran = await cli.runHere(line, { input: lines(items) });
  expect(ran).toMatchObject({ code: 0, err: "" });
  return ran.json<{ id: string }>().id;
}

async function withDb<T>(work: (db: Db) => Promise<T>): Promise<T> {
  const db = openDb({ url: cli.databaseUrl, size: 2 });
  try {
    return await work(db);
  } finally {
    await db.close();
  }
}

const post = (db: Db, operationId: string, posted: ReturnType<typeof results>) =>
  postResults(db, { operationId, key: "key", results: posted });

async function view(id: string): Promise<JobView> {
  return (await cli.runHere(["job", "show", id, "--json"])).json<JobView>();
}

test("a job is accepted, listed, cancelled and run again, each told in text and as JSON", async () => {
  const input = lines(30);
  const accepted = await cli.run(["job", "submit", "-", "--pipeline", "images"], { input });
  expect(accepted).toMatchObject({ code: 0, err: "" });
  const id = /^accepted (\S+): 30 items in 2 batches$/m.exec(accepted.out)![1]!;
  expect(accepted.out).toContain(`holdfast job watch ${id}`);

  const listed = await cli.runHere(["job", "list", "--pipeline", "images", "--state", "open"]);
  expect(listed.out).toMatch(new RegExp(`^${id} +images +waiting for a worker +0/30 +0 `, "m"));
  const shown = await cli.runHere(["job", "show", id]);
  expect(shown.out).toMatch(/^items +0 of 30$/m);
  expect(shown.out).toMatch(/^throughput +unknown$/m);
  expect(shown.out).toMatch(/^eta +unknown$/m);
  expect(shown.out).toMatch(/^workers online +0$/m);

  const cancelled = await cli.runHere(["job", "cancel", id]);
  expect(cancelled).toMatchObject({ code: 0, err: "" });
  expect(await view(id)).toMatchObject({ state: "cancelled", counts: { cancelled: 30 } });
  const again = await cli.runHere(["job", "retry", id, "--items", "remaining"]);
  expect(again.out).toBe(`job ${id} is accepted again, generation 2 (waiting for a worker)\n`);
  const gone = await cli.runHere(["job", "cancel", id, "--json"]);
  expect(gone.json()).toMatchObject({ id, state: "cancelled", generation: 2 });
  const watched = await cli.runHere(["job", "watch", id]);
  expect(watched.code).toBe(3);
});

test("every option of submit arrives where it belongs", async () => {
  const id = await submitted(
    10,
    ..."--tenant acme --key once --priority 1 --weight 3 --lease 90 --batch-size 4".split(" "),
    ..."--heartbeat 9 --deliveries 5 --max-failed 0.25 --limit 7 --shuffle".split(" "),
  );
  const { rows } = await withDb((db) =>
    db.query(
      `select tenant, weight, batch_size, lease_seconds, heartbeat_seconds, deliveries, max_failed_share
         from holdfast.jobs where operation_id = $1`,
      [id],
    ),
  );
  expect(rows).toMatchObject([
    {
      tenant: "acme",
      batch_size: 4,
      lease_seconds: 90,
      heartbeat_seconds: 9,
      deliveries: 5,
      max_failed_share: 0.25,
    },
  ]);
  expect(rows[0]!["weight"]).toBeGreaterThan(3);
  expect(await view(id)).toMatchObject({ total: 7, key: "once", tenant: "acme" });
});

test("items come as NDJSON or as an array, and the same key answers the same job", async () => {
  const line = ["job", "submit", "-", "--pipeline", "p", "--key", "same", "--json"];
  const items = [{ key: "a", payload: 1 }, { reference: "s3://b" }];
  const ndjson = items.map((item) => JSON.stringify(item)).join("\n");
  const first = await cli.runHere(line, { input: ndjson });
  const again = await cli.runHere(line, { input: ndjson });
  expect(again.json()).toEqual({ ...first.json(), existing: true });
  const array = await cli.runHere(["job", "submit", "-", "--pipeline", "p", "--json"], {
    input: JSON.stringify(items),
  });
  expect(array.json()).toMatchObject({ total: 2, existing: false });
  const other = await cli.runHere(line, { input: '{"key":"other"}' });
  expect(other.code).toBe(3);
  expect(other.err).toMatch(/^error: .*same/);
});

test("results come as NDJSON in the order of the items: all, errors alone, and late ones", async () => {
  const id = await submitted(4, "--batch-size", "2");
  await withDb(async (db) => {
    await begin(db, id, 1);
    const [first, second] = (await claimed(db, "w", { limit: 2 })) as [Held, Held];
    await post(db, id, results(second));
    await post(db, id, [{ handle: first.handle, item: 1, error: "no such file" }]);
  });
  const all = await cli.run(["job", "results", id]);
  expect(all).toMatchObject({ code: 0, err: "" });
  const parsed = all.out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(parsed).toMatchObject([
    { item: 1, key: "item-1", error: "no such file" },
    { item: 3, result: { item: 3 }, counts: { seen: 2 } },
    { item: 4, result: { item: 4 } },
  ]);
  const errors = await cli.runHere(["job", "results", id, "--errors"]);
  expect(
    errors.out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line)),
  ).toEqual([parsed[0]]);
  const after = await cli.runHere(["job", "results", id, "--after", "3"]);
  expect(
    after.out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line)),
  ).toEqual([parsed[2]]);
});

test("what came too late is shown with why, and by itself", async () => {
  const id = await submitted(2);
  await withDb(async (db) => {
    await begin(db, id, 1);
    const [lease] = (await claimed(db, "w")) as [Held];
    await cli.runHere(["job", "cancel", id]);
    await db.query("select 1");
    const { answer } = await post(db, id, results(lease));
    // It is cancelled for good only when its workflow has ended it; until then results count.
    expect(answer!.accepted + answer!.late).toBe(2);
    await db.query(
      `insert into holdfast.late_results (operation_id, item_no, generation, lease, why, body, worker)
       values ($1, 2, 1, 7, 'cancelled', '{"a":1}', 'w')`,
      [id],
    );
  });
  const late = await cli.runHere(["job", "results", id, "--late"]);
  expect(late).toMatchObject({ code: 0, err: "" });
  expect(
    late.out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line)),
  ).toContainEqual(expect.objectContaining({ item: 2, why: "cancelled", result: { a: 1 } }));
});

test("show says its stages, what is left, and what became of its leases", async () => {
  const id = await submitted(4, "--batch-size", "2");
  await withDb(async (db) => {
    await begin(db, id, 1);
    const [lease] = (await claimed(db, "w")) as [Held];
    await post(db, id, [
      { handle: lease.handle, item: 1, error: "broken" },
      { handle: lease.handle, item: 2, result: 1, counts: { faces: 3 } },
    ]);
  });
  const shown = await cli.runHere(["job", "show", id]);
  expect(shown).toMatchObject({ code: 0, err: "" });
  expect(shown.out).toMatch(/^items +2 of 4 \(1 succeeded, 1 failed\)$/m);
  expect(shown.out).toMatch(/^batches +1 ready, 0 leased, 1 done$/m);
  expect(shown.out).toMatch(/^leases +deliveries 1$/m);
  expect(shown.out).toMatch(/^Results +running +50% +faces 3$/m);
});

test("what holds a job up is said in words", async () => {
  const id = await submitted(4, "--pipeline", "nobody");
  await withDb((db) => begin(db, id, 1));
  const shown = await cli.runHere(["job", "show", id]);
  expect(shown.out).toMatch(/^held up +no worker has asked for "nobody" yet$/m);
  const listed = await cli.runHere(["job", "list", "--pipeline", "nobody"]);
  expect(listed.out).toMatch(/no worker has asked for "nobody" yet$/m);
});

test("logs come as lines, as a page, and in the two-field form", async () => {
  const id = await submitted(1);
  await withDb((db) =>
    db.query(
      `insert into holdfast.logs (operation_id, level, message)
       values ($1, 'info', 'first'), ($1, 'error', 'item 1 failed'), ($1, 'info', 'last')`,
      [id],
    ),
  );
  const logs = await cli.runHere(["job", "logs", id]);
  expect(logs.out).toMatch(/info +first\n.*error item 1 failed\n.*info +last\n$/);
  const errors = await cli.runHere(["job", "logs", id, "--level", "error", "--json"]);
  expect(errors.json()).toMatchObject({ items: [{ message: "item 1 failed" }] });
  const text = await cli.runHere(["job", "logs", id, "--text"]);
  expect(text.code).toBe(0);
  expect(text.out).toMatch(
    /^\[[-\d]{10} [:\d]{8}\] INFO last\n.*ERROR item 1 failed\n.*INFO first\n$/,
  );
  expect(text.err).toBe("item 1 failed");
  const fields = await cli.runHere(["job", "logs", id, "--text", "--json", "--limit", "1"]);
  expect(Object.keys(fields.json())).toEqual(["stdout", "stderr"]);
  expect(fields.json<{ stdout: string }>().stdout).toMatch(/INFO last$/);
});

test("workers and pipelines say who is there and what waits", async () => {
  const id = await submitted(5, "--batch-size", "2", "--tenant", "depth");
  await withDb(async (db) => {
    await begin(db, id, 1);
    await db.query(
      `insert into holdfast.job_workers (key, worker, pipelines, seen_at)
       values ('k', 'gpu-7', '{p}', clock_timestamp()), ('k', 'gone', '{p}', now() - interval '61 s')`,
    );
  });
  const workers = await cli.runHere(["job", "workers", "--pipeline", "p"]);
  expect(workers.out).toMatch(/^gpu-7 +yes +0 /m);
  expect(workers.out).toMatch(/^gone +no +0 /m);
  const pipelines = await cli.runHere(["job", "pipelines"]);
  expect(pipelines.out).toMatch(/^p +depth +1 +3 +\d+ s +1$/m);
  const json = await cli.runHere(["job", "pipelines", "--json"]);
  expect(json.json()).toMatchObject({
    items: expect.arrayContaining([expect.objectContaining({ tenant: "depth", ready: 3 })]),
  });
});

const GONE = "01990f3e-0000-7000-8000-000000000000";
const NOBODY = /^error: no job 01990f3e-\S+: /;

test.each<[string, string[], string, RegExp]>([
  ["no pipeline", ["submit", "-"], "", /--pipeline/],
  ["a blank pipeline", ["submit", "-", "--pipeline", " "], "{}", /^error: --pipeline: must be/],
  [
    "no items",
    ["submit", "--pipeline", "p"],
    "",
    /^error: source: name a file .* or a --collector/,
  ],
  [
    "both",
    ["submit", "-", "--pipeline", "p", "--collector", "c"],
    "",
    /^error: source: name a file/,
  ],
  [
    "a stray --collect",
    ["submit", "-", "--pipeline", "p", "--collect", "1"],
    "",
    /--collect: goes/,
  ],
  [
    "no JSON to collect",
    ["submit", "--pipeline", "p", "--collector", "c", "--collect", "{"],
    "",
    /^error: --collect: must be JSON/,
  ],
  [
    "no such file",
    ["submit", "gone.ndjson", "--pipeline", "p"],
    "",
    /^error: gone.ndjson: there is no such file/,
  ],
  ["a folder", ["submit", ".", "--pipeline", "p"], "", /^error: \.: .*check the path/],
  ["no JSON", ["submit", "-", "--pipeline", "p"], "{}\n{", /^error: line 2: is not JSON/],
  ["a bad item", ["submit", "-", "--pipeline", "p"], '{}\n{"kee":1}', /^error: line 2: .*kee/],
  [
    "a bad array",
    ["submit", "-", "--pipeline", "p"],
    "[{]",
    /begins like a JSON array and is none/,
  ],
  ["half a batch", ["submit", "-", "--pipeline", "p", "--batch-size", "1.5"], "{}", /whole number/],
  [
    "no batch",
    ["submit", "-", "--pipeline", "p", "--batch-size", "0"],
    "{}",
    /^error: --batch-size: /,
  ],
  ["no lease", ["submit", "-", "--pipeline", "p", "--lease", "0"], "{}", /^error: --lease: /],
  ["more than all", ["submit", "-", "--pipeline", "p", "--max-failed", "1.1"], "{}", /from 0 to 1/],
  [
    "priority 6",
    ["submit", "-", "--pipeline", "p", "--priority", "6"],
    "{}",
    /^error: --priority: /,
  ],
  ["an unknown job", ["show", GONE], "", NOBODY],
  ["no id", ["show", "7"], "", /^error: /],
  ["results of nothing", ["results", GONE], "", NOBODY],
  ["late results of nothing", ["results", GONE, "--late"], "", NOBODY],
  ["late errors", ["results", GONE, "--late", "--errors"], "", /--late: goes without --errors/],
  ["logs of nothing", ["logs", GONE], "", NOBODY],
  ["text of nothing", ["logs", GONE, "--text"], "", NOBODY],
  [
    "text with a level",
    ["logs", GONE, "--text", "--level", "info"],
    "",
    /--level: goes without --text/,
  ],
  ["too much text", ["logs", GONE, "--text", "--limit", "5001"], "", /limit/],
  ["a state there is not", ["list", "--state", "well"], "", /well/],
  ["a page of none", ["list", "--limit", "0"], "", /limit/],
  ["items there are not", ["retry", GONE, "--items", "some"], "", /some/],
  ["cancel of nothing", ["cancel", GONE], "", NOBODY],
  ["retry of nothing", ["retry", GONE], "", NOBODY],
  ["watch of nothing", ["watch", GONE], "", NOBODY],
])("%s: one clear line, and exit code 2", async (_what, args, input, said) => {
  const ran = await cli.runHere(["job", ...args], { input });
  expect(ran.err).toMatch(said);
  expect(ran.err.split("\n")).toHaveLength(1);
  expect(ran).toMatchObject({ code: 2, out: "" });
});
