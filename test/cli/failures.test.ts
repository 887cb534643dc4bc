import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { expect, test } from "vitest";
import { freePort } from "../../dev/free-port.ts";
import { setupCli, type Ran } from "./support.ts";

const cli = setupCli();
const UNKNOWN = "01990f3e-0000-7000-8000-000000000000";
const GOOD = '{"content":"Ada wrote to Charles."}\n';
const submit = (...more: string[]) => ["retain", "submit", "-", "--bank", "b", ...more];

function expectFailure(ran: Ran, code: number, message: RegExp): void {
  expect(ran.err).toMatch(message);
  expect(ran.err).not.toContain("\n");
  expect(ran.err).not.toMatch(/\n {4}at /);
  expect(ran.out).toBe("");
  expect(ran.code).toBe(code);
}

async function operations(): Promise<number> {
  const { items } = (await cli.runHere(["operation", "list", "--json"])).json<{
    items: unknown[];
  }>();
  return items.length;
}

test("bad usage ends with 2 and names the command's help", async () => {
  const cases: [string[], RegExp][] = [
    [["operatoin"], /^error: unknown command 'operatoin'.*: see "holdfast --help"$/],
    [["operation", "show"], /missing required argument 'id': see "holdfast operation show --help"/],
    [
      ["operation", "list", "--nope"],
      /unknown option '--nope'.*: see "holdfast operation list --h/,
    ],
    [["operation", "list", "--state", "odd"], /'odd' is invalid.* accepted, running/],
    [["operation", "list", "--limit", "many"], /'many' is invalid.*whole number/],
    [["operation", "list", "extra"], /too many arguments/],
    [["retain", "submit", "-"], /required option '--bank <bank>' not specified/],
    [["brake", "set", "all"], /required option '--reason <text>' not specified/],
    [["key", "create", "n", "--role", "king"], /'king' is invalid.*viewer, service/],
  ];
  for (const [args, message] of cases) expectFailure(await cli.runHere(args), 2, message);
  const [args, message] = cases[0]!;
  expectFailure(await cli.run(args), 2, message);
});

test("bad input ends with 2, names the line or field, and leaves nothing behind", async () => {
  const cases: [string[], string, RegExp][] = [
    [submit(), "", /^error: input: must hold at least one line$/],
    [submit(), "\n  \n", /input: must hold at least one line/],
    [submit(), "[]", /items: must hold at least one item/],
    [submit(), `${GOOD}{"content":"x}\n`, /^error: line 2: is not JSON/],
    [
      submit(),
      `${GOOD}${GOOD}{"content":" \\u00a0"}`,
      /^error: line 3: content: must not be blank/,
    ],
    [submit(), '{"content":7}', /line 1: content: .*expected string/],
    [submit(), '{"content":"x","colour":"red"}', /line 1: unknown field colour/],
    [submit(), '[{"content":"x"},{"content":7}]', /^error: items\[1\]\.content: /],
    [submit(), '[{"content":"x"}', /input: begins like a JSON array and is none/],
    [
      submit(),
      `{"content":"x","documentId":"${"a".repeat(1_001)}"}`,
      /documentId: must be at most/,
    ],
    [submit("--priority", "9"), GOOD, /^error: --priority: /],
    [submit("--tenant", "a b"), GOOD, /^error: --tenant: must be 1 to 100 of/],
    [submit("--start-after", "tomorrow"), GOOD, /^error: --start-after: .*ISO/],
    [submit("--bank", " "), GOOD, /^error: --bank: must not be blank/],
    [submit("--key", "ä"), GOOD, /^error: --key: must be 1 to 255 printable/],
    [["retain", "submit", "nowhere.ndjson", "--bank", "b"], "", /nowhere.ndjson: there is no such/],
    [["operation", "show", "7"], "", /^error: id: must be an operation id \(a uuid\)$/],
    [["operation", "items", UNKNOWN, "--limit", "0"], "", /limit: |no operation/],
    [["brake", "set", "all", "x", "--reason", "r"], "", /name: must be empty for all/],
    [["brake", "set", "tenant", "--reason", "r"], "", /name: must not be empty/],
    [["brake", "set", "all", "--reason", " "], "", /reason: must say why/],
    [["key", "create", " ", "--role", "viewer"], "", /^error: name: /],
    [["bank", "erase", "b"], "", /no bank b: /],
    [["webhook", "add", "ftp://example.com"], "", /^error: url: must begin with https/],
    [["webhook", "add", "https://example.com", "--event", "odd"], "", /must be one of operation\./],
  ];
  for (const [args, input, message] of cases) {
    expectFailure(await cli.runHere(args, { input }), 2, message);
  }
  const streamed = await cli.run(submit(), { input: `${GOOD}{"content":"x}\n` });
  expectFailure(streamed, 2, /^error: line 2: is not JSON/);
  expect(await operations()).toBe(0);
  for (const noun of ["bank", "brake", "key", "webhook"]) {
    const { items } = (await cli.runHere([noun, "list", "--json"])).json<{ items: unknown[] }>();
    expect(items).toEqual([]);
  }
});

test("a folder with nothing to take, and a document that is not text, are refused by name", async () => {
  await writeFile(join(cli.folder, "picture.bin"), Buffer.from([0xff, 0xfe, 0, 1]));
  const args = ["--bank", "b"];
  const one = await cli.runHere(["retain", "submit", "picture.bin", ...args]);
  expectFailure(one, 2, /picture\.bin.* is not UTF-8: convert it/);
  const folder = await cli.runHere(["retain", "submit", ".", ...args]);
  expect(folder.code).toBe(2);
  expect(folder.err).toMatch(/error: \.: holds no text file/);
  expect(await operations()).toBe(0);
});

test("an id that is not there ends with 2 and says where to look", async () => {
  const cases: [string[], RegExp][] = [
    ...[
      "show",
      "items",
      "batches",
      "logs",
      "events",
      "audit",
      "watch",
      "cancel",
      "retry",
      "pause",
    ].map((verb): [string[], RegExp] => [
      ["operation", verb, UNKNOWN],
      /no operation .*: list them with/,
    ]),
    [["bank", "show", "nope"], /no bank nope: /],
    [["document", "list", "nope"], /no bank nope: /],
    [["document", "show", "nope", "d"], /no bank nope: /],
    [["brake", "lift", "all"], /^error: no brake all: see "holdfast brake list"$/],
    [["key", "revoke", UNKNOWN], /no live key .*: see "holdfast key list"/],
    [["webhook", "remove", UNKNOWN], /no webhook /],
  ];
  for (const [args, message] of cases) expectFailure(await cli.runHere(args), 2, message);
});

test("what cannot be done as things stand ends with 3", async () => {
  const input = GOOD;
  const { id } = (await cli.runHere(submit("--key", "k", "--json"), { input })).json<{
    id: string;
  }>();
  const other = await cli.runHere(submit("--key", "k"), { input: '{"content":"other"}' });
  expectFailure(other, 3, /key "k" was used for other content \(operation .*\): use a new key/);
  expectFailure(await cli.runHere(["operation", "retry", id]), 3, /is accepted; cancel it or wait/);

  expect((await cli.runHere(["operation", "cancel", id])).code).toBe(0);
  const watched = await cli.runHere(["operation", "watch", id]);
  expect(watched.code).toBe(3);
  expectFailure(
    await cli.runHere(["operation", "pause", id]),
    3,
    /is cancelled; there is nothing to p/,
  );
  expectFailure(
    await cli.runHere(["operation", "resume", id]),
    3,
    /is cancelled; there is nothing to/,
  );
});

test("a validator that refuses ends the submit with 3 and its own words", async () => {
  const config = join(cli.folder, "strict.config.mjs");
  await writeFile(
    config,
    'export default { validator: { validate: () => ({ verdict: "refuse", reason: "no letters" }) } };',
  );
  const before = await operations();
  const ran = await cli.runHere(submit(), { input: GOOD, env: { HOLDFAST_CONFIG: config } });
  expectFailure(ran, 3, /^error: line 1: refused by the validator: no letters$/);
  expect(await operations()).toBe(before);
});

test("without a database every command says in one line what is missing", async () => {
  const none = await cli.runHere(["operation", "list"], { env: { DATABASE_URL: null } });
  expectFailure(none, 2, /DATABASE_URL: is not set: set it, or start.*"holdfast dev"/);
  const odd = await cli.runHere(["operation", "list"], { env: { DATABASE_URL: "mysql://x" } });
  expectFailure(odd, 2, /DATABASE_URL: must begin with postgres:\/\//);

  const away = `postgres://holdfast@127.0.0.1:${await freePort()}/holdfast`;
  const unreachable = /Postgres.*ECONNREFUSED.*check DATABASE_URL/;
  const env = { DATABASE_URL: away };
  for (const args of [["operation", "list"], ["migrate"], ["worker", "--check"], submit()]) {
    expectFailure(await cli.runHere(args, { input: GOOD, env }), 1, unreachable);
  }
  expectFailure(await cli.run(["worker"], { env }), 1, unreachable);
  const noSuch = new URL(cli.databaseUrl);
  noSuch.pathname = "/nowhere";
  const ran = await cli.runHere(["bank", "list"], { env: { DATABASE_URL: noSuch.href } });
  expectFailure(ran, 1, /database "nowhere" does not exist/);
});

test("a worker is told of a workflow bundle that is not there before it does anything", async () => {
  const ran = await cli.run(["worker", "--workflow-bundle", "nowhere.js"]);
  expectFailure(ran, 2, /--workflow-bundle: there is no file nowhere\.js: leave the option out/);
});

test("a schema that is not there or not ours ends with 1 and names the command that helps", async () => {
  const env = { HOLDFAST_SCHEMA: "elsewhere" };
  const read = await cli.runHere(["operation", "list"], { env });
  expectFailure(read, 1, /schema .*run "holdfast migrate"/);
  expectFailure(await cli.runHere(submit(), { input: GOOD, env }), 1, /run "holdfast migrate"/);
  expectFailure(await cli.run(["worker"], { env }), 1, /not there yet: run "holdfast migrate"/);

  expect((await cli.runHere(["migrate"], { env })).code).toBe(0);
  expect((await cli.runHere(["operation", "list"], { env })).code).toBe(0);
  const client = new pg.Client({ connectionString: cli.databaseUrl });
  await client.connect();
  await client.query("update elsewhere.schema_migrations set checksum = 'x' where version = 1");
  await client.end();
  expectFailure(await cli.runHere(["migrate"], { env }), 1, /migration 1 .* with another content/);
  const bad = await cli.runHere(["migrate"], { env: { HOLDFAST_SCHEMA: "No Such" } });
  expectFailure(bad, 2, /HOLDFAST_SCHEMA: /);
});

test("erasing asks for the name, and where nobody can be asked it does nothing without --yes", async () => {
  const input = '{"content":"Ada wrote to Charles.","documentId":"letter"}';
  expect((await cli.runHere(["retain", "submit", "-", "--bank", "kept"], { input })).code).toBe(0);
  expectFailure(
    await cli.runHere(["bank", "erase", "kept"]),
    2,
    /--yes: is needed to erase bank "kept"/,
  );
  expect((await cli.runHere(["bank", "show", "kept"])).code).toBe(0);
  const erased = await cli.runHere(["bank", "erase", "kept", "--yes", "--json"]);
  expect(erased.json()).toMatchObject({ bank: "kept", operationsEnded: 1 });
  expectFailure(await cli.runHere(["bank", "show", "kept"]), 2, /no bank kept/);
});

test("a fault shows its place in the code only with HOLDFAST_DEBUG=1", async () => {
  const env = { HOLDFAST_DEBUG: "1" };
  const ran = await cli.run(["operation", "show", UNKNOWN], { env });
  expect(ran.code).toBe(2);
  expect(ran.err).toMatch(/\n {4}at /);
  expect(await readdir(cli.folder)).not.toContain(".holdfast");
});
