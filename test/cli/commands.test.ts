import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { setupCli } from "./support.ts";

const cli = setupCli();

interface View {
  id: string;
  state: string;
  total: number;
  batches: number;
  generation: number;
  input: Record<string, unknown>;
  submittedBy: string;
}

async function submitted(...args: string[]): Promise<View> {
  const ran = await cli.runHere(["retain", "submit", ...args, "--json"]);
  expect(ran.err).toBe("");
  return view(ran.json<{ id: string }>().id);
}

async function view(id: string): Promise<View> {
  return (await cli.runHere(["operation", "show", id, "--json"])).json<View>();
}

async function keys(id: string): Promise<string[]> {
  const ran = await cli.runHere(["operation", "items", id, "--json"]);
  return ran.json<{ items: { key: string }[] }>().items.map(({ key }) => key);
}

async function put(name: string, content: string | Buffer): Promise<string> {
  const path = join(cli.folder, name);
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, content);
  return name;
}

const lines = (n: number) =>
  Array.from(
    { length: n },
    (_, i) => `{"content":"Letter ${i}.","documentId":"letter-${i}"}\n`,
  ).join("");

test("a batch is accepted, shown, cancelled and run again, each told in text and as JSON", async () => {
  const input = lines(3);
  const accepted = await cli.run(["retain", "submit", "-", "--bank", "b"], { input });
  expect(accepted.code).toBe(0);
  const id = /^accepted (\S+): 3 items$/m.exec(accepted.out)![1]!;
  expect(accepted.out).toContain(`holdfast operation watch ${id}`);

  const shown = await cli.runHere(["operation", "show", id]);
  expect(shown.out).toMatch(/^state +waiting for a worker \(stored: accepted\)$/m);
  expect(shown.out).toMatch(/^submitted by +cli/m);
  const listed = await cli.runHere(["operation", "list", "--state", "open", "--scope", "b"]);
  expect(listed.out).toMatch(
    new RegExp(`^${id} +retain +waiting for a worker +0/3 +default +b `, "m"),
  );

  const cancelled = await cli.runHere(["operation", "cancel", id]);
  expect(cancelled).toMatchObject({ code: 0, err: "" });
  expect(await view(id)).toMatchObject({ state: "cancelled", generation: 1 });
  const again = await cli.runHere(["operation", "cancel", id]);
  expect(again.code).toBe(0);

  const retried = await cli.runHere(["operation", "retry", id, "--json"]);
  expect(retried.json()).toMatchObject({ id, state: "accepted", generation: 2 });
  const audit = (await cli.runHere(["operation", "audit", id, "--json"])).json<{
    items: object[];
  }>();
  expect(audit.items).toMatchObject([
    { action: "operation.retry" },
    { action: "operation.cancel" },
  ]);
  await cli.runHere(["operation", "cancel", id]);
});

test("items come from NDJSON, from an array, and from standard input alike", async () => {
  await put("a.ndjson", lines(2));
  await put("a.json", `\uFEFF \n[${lines(2).trim().replaceAll("\n", ",\n")}]`);
  await put("a.txt", lines(2));
  for (const source of ["a.ndjson", "a.json", "a.txt"]) {
    const { id, total } = await submitted(source, "--bank", "same");
    expect(total).toBe(2);
    expect(await keys(id)).toEqual(["letter-0", "letter-1"]);
  }
  const args = ["retain", "submit", "-", "--bank", "same", "--json"];
  const piped = await cli.run(args, { input: `[{"content":"x"}]` });
  expect(piped.json()).toMatchObject({ total: 1, existing: false });
});

test("a folder is one batch of its text files, in the order of their paths", async () => {
  await put("docs/b.md", "Second.");
  await put("docs/a/deep.txt", "First, ünïcode.");
  await put("docs/a/items.json", '{"content":"a document here, not an item"}');
  await put("docs/picture.png", Buffer.from([0x89, 0x50, 0, 1, 2]));
  await put("docs/latin.txt", Buffer.from([0x66, 0xfc, 0x72]));
  await put("docs/blank.md", " \n");
  await put("docs/.hidden/x.md", "hidden");
  await put("docs/node_modules/x/README.md", "not mine");
  const ran = await cli.runHere(["retain", "submit", "docs", "--bank", "files", "--json"]);
  expect(ran.err).toBe("3 files passed over: binary or blank");
  const { id } = ran.json<{ id: string }>();
  expect(await keys(id)).toEqual(["a/deep.txt", "a/items.json", "b.md"]);
});

test("a text file is one document, and --as says so where its name does not", async () => {
  await put("one.md", "[A link](x) and then prose.");
  expect(await keys((await submitted("one.md", "--bank", "one")).id)).toEqual(["one.md"]);
  await put("two.json", '{"any": "json"}');
  const document = await submitted("two.json", "--bank", "one", "--as", "documents");
  expect(await keys(document.id)).toEqual(["two.json"]);
  await put("three", lines(1));
  expect(await keys((await submitted("three", "--bank", "one", "--as", "items")).id)).toEqual([
    "letter-0",
  ]);
});

test("every option of submit arrives where it belongs", async () => {
  await put("o.ndjson", lines(5));
  const flags = [
    "--tenant",
    "acme",
    "--key",
    "k1",
    "--tag",
    "red",
    "--tag",
    "blue",
    "--priority",
    "2",
  ];
  const more = [
    "--start-after",
    "2099-01-01T00:00:00Z",
    "--max-attempts",
    "7",
    "--batch-items",
    "2",
  ];
  const one = await submitted("o.ndjson", "--bank", "o", ...flags, ...more, "--chunk-size", "500");
  expect(one).toMatchObject({
    tenant: "acme",
    scope: "o",
    key: "k1",
    priority: 2,
    batches: 3,
    shown: "deferred",
    startAfter: "2099-01-01T00:00:00.000Z",
    input: { documentTags: ["red", "blue"], maxAttempts: 7, chunkSize: 500 },
  });
  const same = await cli.runHere([
    "retain",
    "submit",
    "o.ndjson",
    "--bank",
    "o",
    ...flags,
    ...more,
    "--chunk-size",
    "500",
  ]);
  expect(same.out).toContain(`key "k1" was used for the same content: operation ${one.id}`);
});

test("--json of every read is one JSON document, and pages lead to the next", async () => {
  await put("p.ndjson", lines(5));
  const { id } = await submitted("p.ndjson", "--bank", "pages", "--batch-items", "2");
  await cli.runHere(["operation", "cancel", id]);
  await cli.runHere(["key", "create", "n", "--role", "viewer"]);
  await cli.runHere(["webhook", "add", "https://hooks.example.com/x", "--tenant", "other"]);
  const reads = [
    ...["show", "items", "batches", "logs", "events", "audit"].map((verb) => [
      "operation",
      verb,
      id,
    ]),
    ...["operation", "brake", "bank", "key", "webhook"].map((noun) => [noun, "list"]),
    ["bank", "show", "pages"],
    ["bank", "observations", "pages"],
    ["document", "list", "pages"],
  ];
  for (const args of reads) {
    const ran = await cli.runHere([...args, "--json"]);
    expect(ran, args.join(" ")).toMatchObject({ code: 0, err: "" });
    expect(ran.json(), args.join(" ")).toBeTypeOf("object");
    expect((await cli.runHere(args)).code, args.join(" ")).toBe(0);
  }
  const stream = await cli.runHere(["operation", "watch", id, "--json"]);
  expect(
    stream.out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line)),
  ).toMatchObject([{ id }]);

  const seen: string[] = [];
  let after: string[] = [];
  for (let pages = 0; pages < 3; pages++) {
    const args = ["operation", "items", id, "--limit", "2", "--json", ...after];
    const page = (await cli.runHere(args)).json<{ items: { key: string }[]; next?: string }>();
    seen.push(...page.items.map(({ key }) => key));
    after = page.next === undefined ? [] : ["--after", page.next];
  }
  expect(seen).toEqual([0, 1, 2, 3, 4].map((no) => `letter-${no}`));
  const text = await cli.runHere(["operation", "items", id, "--limit", "2"]);
  expect(text.err).toBe("there is more: add --after 2");
});

test("without a terminal there is no colour, and no control character of anybody's name", async () => {
  await put(
    "evil.ndjson",
    `${JSON.stringify({ content: "x", documentId: "a\u001B[31mb\u202Ec" })}\n`,
  );
  const { id } = await submitted("evil.ndjson", "--bank", "evil");
  const ran = await cli.runHere(["operation", "items", id]);
  expect(ran.out).toContain("a\\u001b[31mb\\u202ec");
  // oxlint-disable-next-line no-control-regex
  expect(ran.out).not.toMatch(/[\u0000-\u0009\u000B-\u001F\u202E]/);
});

test("the secret of a key is all of stdout, once", async () => {
  const made = await cli.runHere([
    "key",
    "create",
    "import",
    "--role",
    "service",
    "--tenant",
    "acme",
  ]);
  expect(made.out).toMatch(/^hf_[\w-]{40,}\n$/);
  const list = await cli.runHere(["key", "list"]);
  expect(list.out).toMatch(/import +service +acme/);
  expect(list.out).not.toContain(made.out.trim());
  const keysNow = (await cli.runHere(["key", "list", "--json"])).json<{
    items: { id: string; name: string }[];
  }>();
  const { id } = keysNow.items.find(({ name }) => name === "import")!;
  expect((await cli.runHere(["key", "revoke", id])).out).toBe(`key ${id} is revoked\n`);
  expect((await cli.runHere(["key", "revoke", id])).code).toBe(2);
});

test("a brake holds what it names until it is lifted, and the operation says who and why", async () => {
  await put("h.ndjson", lines(1));
  const { id } = await submitted("h.ndjson", "--bank", "held");
  const set = ["brake", "set", "scope", "default/held", "--reason", "wrong documents"];
  expect((await cli.runHere(set)).out).toBe("brake on scope default/held is set\n");
  const shown = await cli.runHere(["operation", "show", id]);
  expect(shown.out).toMatch(/^state +paused/m);
  expect(shown.out).toMatch(
    /^held by the brake on scope default\/held, set by cli.*: wrong documents$/m,
  );
  expect((await cli.runHere(["brake", "list"])).out).toMatch(
    /scope +default\/held +cli.*wrong documents/,
  );
  await cli.runHere(["brake", "lift", "scope", "default/held"]);
  expect((await cli.runHere(["operation", "show", id])).out).toMatch(
    /^state +waiting for a worker/m,
  );
});

test("migrate --print needs no database and is the whole schema", async () => {
  const env = { DATABASE_URL: null, HOLDFAST_SCHEMA: "mine" };
  const { out, code } = await cli.runHere(["migrate", "--print"], { env });
  expect(code).toBe(0);
  expect(out).toContain("create schema if not exists mine");
  expect(out).not.toContain("holdfast.operations");
  const again = await cli.runHere(["migrate", "--json"]);
  expect(again.json()).toMatchObject({ applied: [] });
});
