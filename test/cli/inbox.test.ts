import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openDb, type Db } from "../../db/pool.ts";
import { setupCli } from "./support.ts";

const cli = setupCli();
const AT = "2026-03-01T00:00:00Z";
const site = (name: string, more = {}) => ({ timestamp: AT, site: { name, ...more } });
const lines = (...values: unknown[]) => values.map((one) => `${JSON.stringify(one)}\n`).join("");

async function withDb<T>(work: (db: Db) => Promise<T>): Promise<T> {
  const db = openDb({ url: cli.databaseUrl, size: 2 });
  try {
    return await work(db);
  } finally {
    await db.close();
  }
}

const settle = (tenant: string, state: number) =>
  withDb((db) =>
    db.query(
      `update holdfast.entities set state = $2, settled_at = now(), error = '{"message":"no such site"}'
        where tenant = $1`,
      [tenant, state],
    ),
  );

test("a file is taken in, shown, listed and requeued, each told in text and as JSON", async () => {
  await writeFile(
    join(cli.folder, "feed.ndjson"),
    lines(site("a"), site("b"), site("a")) + "{no\n",
  );
  const ran = await cli.run(["inbox", "ingest", "feed.ndjson", "--tenant", "acme"]);
  expect(ran.code).toBe(0);
  const id = /^request (\S+): 2 accepted, 1 said already, 1 rejected$/m.exec(ran.out)![1]!;
  expect(ran.err).toContain(`holdfast inbox rejects ${id}`);

  const shown = await cli.runHere(["inbox", "show", id]);
  expect(shown.out).toMatch(/^states +3 queued$/m);
  expect(shown.out).toMatch(/^source +file$/m);
  const asJson = await cli.runHere(["inbox", "show", id, "--json"]);
  expect(asJson.json()).toMatchObject({ request: id, states: { queued: 3 }, settled: false });
  const rejects = await cli.runHere(["inbox", "rejects", id]);
  expect(rejects.out).toMatch(/^4 +not-json +line: cannot be read: .* \{no$/m);

  const status = await cli.runHere(["inbox", "status", "--tenant", "acme"]);
  expect(status.out).toMatch(/^acme +main +inventory +plan-only +\d+ s +2 queued$/m);
  await settle("acme", 4);
  const list = await cli.runHere(["inbox", "list", "--tenant", "acme", "--state", "failed"]);
  expect(list.out).toMatch(/^\d+ +acme +main +site +failed .*no such site$/m);
  const requests = await cli.runHere(["inbox", "list", "--requests", "--tenant", "acme", "--json"]);
  expect(requests.json()).toMatchObject({ items: [{ request: id, source: "file" }] });
  const entity = /^(\d+)/m.exec(list.out)![1]!;
  const one = await cli.runHere(["inbox", "show", entity]);
  expect(one.out).toMatch(/^fields +\{"name":"b"\}$/m);

  expect((await cli.runHere(["inbox", "requeue", entity, "--tenant", "acme"])).out).toBe(
    "1 requeued, 0 passed over\n",
  );
  const rest = ["inbox", "requeue", "--state", "failed", "--tenant", "acme", "--json"];
  expect((await cli.runHere(rest)).json()).toEqual({ requeued: 1, passedOver: 0 });
  expect((await cli.runHere(["inbox", "show", entity, "--json"])).json()).toMatchObject({
    state: "queued",
  });
});

test("a snapshot says what is missing, a JSON array is taken as well, and a repeat changes nothing", async () => {
  const line = ["inbox", "ingest", "-", "--tenant", "snap", "--snapshot", "site/ams"];
  await cli.runHere(line, { input: lines(site("a"), site("b")) });
  const input = ` \n${JSON.stringify([site("a", { custom_fields: { n: 1 } })])}`;
  const named = [...line, "--grace", "60", "--message-id", "m2"];
  const again = await cli.runHere(named, { input });
  expect(again.out).toContain(
    "snapshot site/ams: 1 named, 1 missing from now on; removals are planned after 60 s",
  );
  const repeat = await cli.runHere([...named, "--json"], { input });
  expect(repeat.json()).toMatchObject({ repeated: true, accepted: 1 });
  const other = await cli.runHere(named, { input: lines(site("c")) });
  expect(other).toMatchObject({ code: 3 });
  expect(other.err).toContain("was taken with other content");
  const empty = await cli.runHere(line, { input: "" });
  expect(empty).toMatchObject({ code: 2 });
  expect(empty.err).toContain("names nothing");
  const meant = await cli.runHere([...line, "--allow-empty"], { input: "" });
  expect(meant.out).toContain("0 named, 1 missing");
});

test("--wait ends with 0 when all of it ended well, and with 1 when some of it did not", async () => {
  const line = (tenant: string) => [
    "inbox",
    "ingest",
    "-",
    "--tenant",
    tenant,
    "--message-id",
    "m",
  ];
  const input = lines(site("a"));
  await cli.runHere(line("good"), { input });
  await settle("good", 5);
  const good = await cli.runHere([...line("good"), "--wait"], { input });
  expect(good).toMatchObject({ code: 0, err: "" });
  expect(good.out).toMatch(/^states +1 no changes$/m);
  await cli.runHere(line("bad"), { input });
  await settle("bad", 4);
  const bad = await cli.runHere([...line("bad"), "--wait", "--json"], { input });
  expect(bad).toMatchObject({ code: 1, err: "" });
  expect(bad.json()).toMatchObject({ states: { failed: 1 } });
  const late = await cli.runHere([...line("late"), "--wait", "--timeout", "0"], { input });
  expect(late.code).toBe(1);
  expect(late.err).toContain("see that a worker runs");
});

test("what is wrong is told in one line that names the flag and the next step", async () => {
  const cases: [string[], number, string][] = [
    [["ingest", "nowhere.ndjson"], 2, "nowhere.ndjson: there is no such file: check the path"],
    [["ingest", "-", "--grace", "5"], 2, "--grace: goes with --snapshot"],
    [["ingest", "-", "--allow-empty"], 2, "--allow-empty: goes with --snapshot"],
    [["ingest", "-", "--tenant", "no good"], 2, "--tenant: must be 1 to 100"],
    [["ingest", "-", "--message-id", "é"], 2, "--message-id: must be"],
    [["show", "01a1fe66-6034-723e-888d-126f9e06159c"], 2, "no request 01a1fe66"],
    [["show", "99999999"], 2, "no entity 99999999"],
    [["show", "nonsense"], 2, "must be the id of a request"],
    [["requeue"], 2, "name ids, or a filter"],
    [["requeue", "7", "--state", "failed"], 2, "name ids, or a filter"],
    [["list", "--state", "lost"], 2, "Allowed choices"],
  ];
  for (const [args, code, says] of cases) {
    const ran = await cli.runHere(["inbox", ...args], { input: "" });
    expect(ran, args.join(" ")).toMatchObject({ code, out: "" });
    expect(ran.err).toContain(says);
    expect(ran.err.split("\n")).toHaveLength(1);
  }
  const nothing = await cli.runHere(["inbox", "ingest", "-"], { input: "{garbage\n" });
  expect(nothing.code).toBe(1);
});
