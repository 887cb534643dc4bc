import { expect, test } from "vitest";
import { connect, type SearchPage, type SearchQuery } from "../../client/index.ts";
import {
  createInventory,
  INVENTORY_TYPES,
  searching,
  type Searching,
} from "../support/searching.ts";

const found = ({ items }: SearchPage) => items.map(({ type, key }) => `${type} ${key}`);

async function keysOf(
  { holdfast }: Searching,
  text: string,
  query: Omit<SearchQuery, "text"> = {},
): Promise<string[]> {
  return found(await holdfast.search.query({ text, ...query }));
}

test("five look-ups find text whatever its case, and take every sign literally", async () => {
  await using inventory = await searching();
  await inventory.db.query(
    `insert into sites (id, name) values (1, 'Berlin North'), (2, 'North Berlin'), (3, '100%_a\\b'),
       (4, '100xya-b'), (5, 'ÄRGER & co'), (6, 'north')`,
  );
  await inventory.fill();
  expect(await keysOf(inventory, "NORTH")).toEqual(["site 1", "site 2", "site 6"]);
  expect(await keysOf(inventory, "NORTH", { lookup: "exact" })).toEqual(["site 6"]);
  expect(await keysOf(inventory, "nORTH", { lookup: "starts-with" })).toEqual(["site 2", "site 6"]);
  expect(await keysOf(inventory, "north", { lookup: "ends-with" })).toEqual(["site 1", "site 6"]);
  expect(await keysOf(inventory, "^n.*(in|h)$", { lookup: "regex" })).toEqual(["site 2", "site 6"]);
  expect(await keysOf(inventory, "ärger")).toEqual(["site 5"]);
  for (const lookup of ["partial", "exact", "starts-with", "ends-with"] as const) {
    expect(await keysOf(inventory, "100%_a\\B", { lookup })).toEqual(["site 3"]);
    expect(await keysOf(inventory, "1__%", { lookup })).toEqual([]);
  }
  expect(await keysOf(inventory, "%")).toEqual(["site 3"]);
  expect(await keysOf(inventory, "_")).toEqual(["site 3"]);
  expect(await keysOf(inventory, "\\")).toEqual(["site 3"]);
});

test("signs of every query language crash nothing", async () => {
  await using inventory = await searching();
  await inventory.db.query("insert into sites (id, name) values (1, 'plain')");
  await inventory.fill();
  for (const text of [
    "'",
    '"',
    "& |",
    "!(",
    ":*",
    "<->",
    "a:b & !c",
    "$1",
    "{schema}",
    "--",
    "🦆",
    "\\'",
    "::",
    "/24",
  ]) {
    for (const lookup of ["partial", "exact", "starts-with", "ends-with", "words"] as const) {
      expect(await keysOf(inventory, text, { lookup })).toEqual([]);
    }
  }
});

test("an expression Postgres cannot read is refused by name, also when nothing is indexed", async () => {
  await using inventory = await searching();
  await inventory.fill();
  for (const text of ["(", "[a", "a{2,1}", "*a", "a**", "(?<"]) {
    await expect(inventory.holdfast.search.query({ text, lookup: "regex" })).rejects.toMatchObject({
      code: "invalid-input",
      status: 400,
      issues: [{ path: "text", message: expect.stringContaining("regular expression") }],
    });
  }
});

test("prose is found by its words, whatever their form, and by the beginning of the last", async () => {
  await using inventory = await searching();
  await inventory.db.query(
    `insert into devices (id, comments) values
       (1, 'Two engineers of the night shift were repairing the cooling pumps of the northern hall.'),
       (2, 'Nothing was repaired here.')`,
  );
  await inventory.fill();
  const ask = (text: string, lookup: SearchQuery["lookup"] = "partial") =>
    keysOf(inventory, text, { lookup });
  expect(await ask("repair")).toEqual(["device 2", "device 1"]);
  expect(await ask("repaired pump")).toEqual(["device 1"]);
  expect(await ask("engin")).toEqual(["device 1"]);
  expect(await ask("engin", "words")).toEqual(["device 1"]);
  expect(await ask("nort", "words")).toEqual([]);
  expect(await ask('"cooling pumps" -nothing', "words")).toEqual(["device 1"]);
  expect(await ask("the")).toEqual([]);
  const { items } = await inventory.holdfast.search.query({ text: "pump", lookup: "words" });
  const { value, highlights } = items[0]!;
  expect(value).toBe("…were repairing the cooling pumps of the northern hall.");
  expect(highlights.map(([from, to]) => value.slice(from, to))).toEqual(["pumps"]);
});

test("an object is one result: its best field; the order is weight, type, value, key", async () => {
  await using inventory = await searching();
  await inventory.db.query(
    `insert into sites (id, name, serial, description) values
       (1, 'rack b', 'x1', 'a rack'), (2, 'rack a', 'rack-7', 'rack'), (3, 'hall', null, 'has a rack')`,
  );
  await inventory.db.query(
    "insert into devices (id, name, tags) values (9, 'rack a', '{rack,rack b}')",
  );
  await inventory.fill();
  const { items, total, totalIsExact } = await inventory.holdfast.search.query({ text: "rack" });
  expect(items.map(({ type, key, field, value }) => [type, key, field, value])).toEqual([
    ["site", "2", "serial", "rack-7"],
    ["device", "9", "name", "rack a"],
    ["site", "1", "name", "rack b"],
    ["site", "3", "description", "has a rack"],
  ]);
  expect([total, totalIsExact]).toEqual([4, true]);
});

test("a result says what it is called, what was found in it and where, and what is shown of it", async () => {
  await using inventory = await searching();
  const long = `${"filler ".repeat(30)}the cold aisle of Quito${" more filler".repeat(30)}`;
  await inventory.db.query(
    `insert into sites (id, name, description, status, opened)
     values (7, 'Quito', $1, 'active', '2024-02-29')`,
    [long],
  );
  await inventory.db.query("insert into ports values (3, 4, 'uplink')");
  await inventory.fill();
  const { items } = await inventory.holdfast.search.query({ text: "COLD aisle" });
  expect(items).toEqual([
    {
      type: "site",
      typeLabel: "Sites",
      schema: "public",
      key: "7",
      title: "Quito",
      url: "https://inventory.example/sites/7",
      field: "description",
      fieldLabel: "Description",
      weight: 500,
      value: expect.stringMatching(/^….{10,34}cold aisle.{10,34}…$/),
      highlights: [[expect.any(Number), expect.any(Number)]],
      display: [
        { name: "status", label: "Status", value: "active" },
        { name: "opened", label: "Opened on", value: "2024-02-29" },
      ],
    },
  ]);
  const { value, highlights } = items[0]!;
  expect(value.slice(...highlights[0]!)).toBe("cold aisle");
  const port = await inventory.holdfast.search.query({ text: "uplink" });
  expect(port.items[0]).toMatchObject({ key: '["3", "4"]', title: "uplink", url: null });
});

test("an address is found in any spelling and with a mask, a network by what is inside it", async () => {
  await using inventory = await searching();
  await inventory.db.query(
    `insert into devices (id, address, network) values
       (1, '10.0.0.5/24', null), (2, '2001:db8::1', null), (3, null, '10.0.0.0/8'),
       (4, null, '2001:db8::/32'), (5, '10.0.0.50', null), (6, 'not an address', '10.0.0.5/32')`,
  );
  await inventory.fill();
  const ask = (text: string, lookup: SearchQuery["lookup"] = "partial", types?: string[]) =>
    keysOf(inventory, text, { lookup, ...(types && { types }) });
  expect(await ask("10.0.0.5", "exact")).toEqual(["device 1", "device 6"]);
  expect(await ask("10.0.0.5/24", "exact")).toEqual(["device 1"]);
  expect(await ask("10.0.0.5")).toEqual(["device 1", "device 5", "device 3", "device 6"]);
  expect(await ask("2001:0DB8:0000::0:0001", "exact")).toEqual(["device 2"]);
  expect(await ask("2001:0db8:0:0::1/64")).toEqual(["device 2", "device 4"]);
  expect(await ask("10.0.0.0/8", "exact")).toEqual(["device 3"]);
  expect(await ask("10.77.1.2")).toEqual(["device 3"]);
  // The type and the field that are asked for hold for addresses too.
  expect(await ask("10.0.0.5", "partial", ["site"])).toEqual([]);
  expect(await keysOf(inventory, "10.77.1.2", { fields: ["address"] })).toEqual([]);
});

test("zero is found; null and the empty string are not there to be found", async () => {
  await using inventory = await searching();
  await inventory.db.query(
    "insert into sites (id, floors, name) values (1, 0, ''), (2, null, null), (3, 10, 'x')",
  );
  await inventory.fill();
  expect(await keysOf(inventory, "0", { lookup: "exact" })).toEqual(["site 1"]);
  expect(await keysOf(inventory, "0")).toEqual(["site 1", "site 3"]);
});

test("who may see one of 5,000 objects finds that one on the first page, and is told of no other", async () => {
  await using inventory = await searching();
  await inventory.db.query(
    `insert into sites (id, name, tenant)
     select i, 'hall ' || lpad(i::text, 5, '0'), case i when 4711 then 'small' else 'acme' end
       from generate_series(1, 5000) i`,
  );
  await inventory.db.query("insert into ports values (1, 1, 'hall port')");
  await inventory.fill();
  const small = inventory.holdfast.as({ actor: "small", tenants: ["small"] });
  for (const viewer of [undefined, { tenants: ["acme"] }, { tenants: null }]) {
    const page = await small.search.query({ text: "hall", limit: 10, ...(viewer && { viewer }) });
    expect(found(page)).toEqual(["site 4711"]);
    expect([page.total, page.totalIsExact, page.next]).toEqual([1, true, undefined]);
  }
  const all = await inventory.holdfast.search.query({ text: "hall", limit: 10 });
  expect([all.items.length, all.total]).toEqual([10, 5_001]);
  // A type without a rule is for callers of all tenants, and not there for others.
  await expect(small.search.query({ text: "hall", types: ["port"] })).rejects.toThrow(
    '"port" is no type: there are site, device',
  );
  // Whoever sees all may look through another's eyes.
  const through = await inventory.holdfast.search.query({
    text: "hall",
    viewer: { tenants: ["small"] },
  });
  expect(found(through)).toEqual(['port ["1", "1"]', "site 4711"]);
});

test("an object that is gone, or hidden since it was indexed, is not found", async () => {
  await using inventory = await searching();
  await inventory.db.query("insert into sites (id, name) values (1, 'gone'), (2, 'gone too')");
  await inventory.fill();
  await inventory.db.query("delete from sites where id = 1");
  await inventory.db.query("update sites set tenant = 'other' where id = 2");
  const acme = inventory.holdfast.as({ actor: "acme", tenants: ["acme"] });
  expect(await keysOf(inventory, "gone")).toEqual(["site 2"]);
  expect((await acme.search.query({ text: "gone" })).total).toBe(0);
});

test("pages go on where the last one ended, while objects come and go", async () => {
  await using inventory = await searching();
  await inventory.db.query(
    "insert into sites (id, name) select i, 'hall ' || lpad(i::text, 4, '0') from generate_series(1, 250) i",
  );
  await inventory.fill();
  const seen: string[] = [];
  let after: string | undefined;
  for (let page = 0; ; page++) {
    const answer = await inventory.holdfast.search.query({
      text: "hall",
      limit: 40,
      ...(after === undefined ? {} : { after }),
    });
    seen.push(...answer.items.map(({ key }) => key));
    after = answer.next;
    if (after === undefined) break;
    expect(answer.items).toHaveLength(40);
    // One comes before what was read, one goes from it.
    await inventory.db.query("insert into sites (id, name) values ($1, 'hall 0000')", [
      1_000 + page,
    ]);
    await inventory.db.query("delete from sites where id = $1", [page + 1]);
    await inventory.fill();
  }
  expect(seen).toEqual(Array.from({ length: 250 }, (_, i) => String(i + 1)));
});

test("more than 10,000 objects are counted to 10,000, and text that half of everything holds is refused in time", async () => {
  await using inventory = await searching();
  await inventory.db.query(
    "insert into sites (id, name, serial) select i, 'even ' || i, 'even e' || i from generate_series(1, 60000) i",
  );
  await inventory.fill();
  const page = await inventory.holdfast.search.query({ text: "even 1", limit: 5 });
  expect([page.total, page.totalIsExact]).toEqual([10_000, false]);
  expect(page.items).toHaveLength(5);
  const after = page.next!;
  expect((await inventory.holdfast.search.query({ text: "even 1", limit: 5, after })).total).toBe(
    10_000,
  );
  await expect(inventory.holdfast.search.query({ text: "e" })).rejects.toMatchObject({
    code: "too-broad",
    status: 422,
    message: expect.stringMatching(/^text: is too broad/),
  });
});

test("an expression without end is stopped, and the next search goes on", async () => {
  await using inventory = await searching();
  await inventory.db.query(
    "insert into sites (id, name) select i, repeat('a', 1999) || 'b' from generate_series(1, 3) i",
  );
  await inventory.fill();
  await expect(
    inventory.holdfast.search.query({ text: "^(a*)(a*)(a*)\\1\\2\\3b$", lookup: "regex" }),
  ).rejects.toMatchObject({ code: "too-broad" });
  expect(await keysOf(inventory, "aab", { lookup: "ends-with", limit: 1 })).toEqual(["site 1"]);
}, 60_000);

test("a long value is found in all its parts, and begins and ends once", async () => {
  await using inventory = await searching();
  const long = `begin ${"x".repeat(7_890)} middle ${"y".repeat(9_000)} end`;
  await inventory.db.query("insert into sites (id, description) values (1, $1)", [long]);
  await inventory.fill();
  expect(await keysOf(inventory, "middle yyy")).toEqual(["site 1"]);
  expect(await keysOf(inventory, "begin x", { lookup: "starts-with" })).toEqual(["site 1"]);
  expect(await keysOf(inventory, "yyy end", { lookup: "ends-with" })).toEqual(["site 1"]);
  for (const lookup of ["starts-with", "ends-with", "exact"] as const) {
    expect(await keysOf(inventory, "xxx", { lookup })).toEqual([]);
    expect(await keysOf(inventory, "yyy", { lookup })).toEqual([]);
  }
});

test("each schema is searched by itself", async () => {
  await using inventory = await searching({ schemas: ["public", "branch"] });
  await createInventory(inventory.db, "branch");
  await inventory.db.query("insert into public.sites (id, name) values (1, 'rack')");
  await inventory.db.query("insert into branch.sites (id, name) values (2, 'rack')");
  await inventory.fill("public");
  await inventory.fill("branch");
  expect(await keysOf(inventory, "rack")).toEqual(["site 1"]);
  expect(await keysOf(inventory, "rack", { schema: "branch" })).toEqual(["site 2"]);
  await expect(keysOf(inventory, "rack", { schema: "nowhere" })).rejects.toThrow(
    'schema: no index is in "nowhere": there are branch, public',
  );
});

test("what is unknown is named, with what there is", async () => {
  await using inventory = await searching();
  await expect(keysOf(inventory, "x")).rejects.toMatchObject({ code: "search-not-installed" });
  await inventory.fill();
  for (const [query, message] of [
    [{ types: ["site", "house"] }, 'types[1]: "house" is no type: there are site, device, port'],
    [
      { types: ["site"], fields: ["adress"] },
      'fields[0]: "adress" is no field of site: there are serial, name, floors, description',
    ],
    [
      { lookup: "fuzzy" },
      /^lookup: .*"partial"\|"exact"\|"starts-with"\|"ends-with"\|"regex"\|"words"/,
    ],
    [{ after: "nonsense" }, "after: must be the `next` of the page before"],
    [{ limit: 1_000 }, /^limit: /],
    [{ text: "   " }, "text: must not be empty"],
    [{ text: "a\0b" }, /^text: contains a NUL/],
    [{ viewer: ["acme"] }, /^viewer: /],
    [{ colour: "red" }, "input: unknown field colour"],
  ] as const) {
    await expect(
      inventory.holdfast.search.query({ text: "x", ...query } as unknown as SearchQuery),
    ).rejects.toThrow(message);
  }
});

test("types that are stale, unregistered, dropped or changed never crash a search", async () => {
  await using inventory = await searching();
  await inventory.db.query("insert into sites (id, name, status) values (1, 'rack', 'active')");
  await inventory.db.query("insert into devices (id, name) values (2, 'rack')");
  await inventory.db.query("insert into ports values (3, 1, 'rack')");
  await inventory.fill();
  expect(await keysOf(inventory, "rack")).toEqual(["device 2", 'port ["3", "1"]', "site 1"]);

  const fewer = connect({
    databaseUrl: inventory.databaseUrl,
    config: { search: { types: INVENTORY_TYPES.slice(0, 2), builtIn: false } },
  });
  expect(found(await fewer.search.query({ text: "rack" }))).toEqual(["device 2", "site 1"]);
  await fewer.close();

  // What is shown is gone: found by its key. What decides is gone: left out, and said so.
  await inventory.db.query("alter table sites drop column status");
  const [, , site] = (await inventory.holdfast.search.query({ text: "rack" })).items;
  expect(site).toMatchObject({ key: "1", title: "1", display: [{ value: null }, { value: null }] });
  await inventory.db.query("alter table sites drop column tenant");
  const without = await inventory.holdfast.search.query({ text: "rack" });
  expect(found(without)).toEqual(["device 2", 'port ["3", "1"]']);
  expect(without.leftOut).toEqual([
    { type: "site", reason: expect.stringContaining("does not fit its table") },
  ]);
  // Keys of another type than before.
  await inventory.db.query("drop table devices");
  await inventory.db.query("create table devices (id uuid primary key, tenant text)");
  await inventory.db.query("drop table ports");
  const rest = await inventory.holdfast.search.query({ text: "rack" });
  expect([rest.items, rest.total]).toEqual([[], 0]);
  expect(rest.leftOut.map(({ type }) => type).toSorted()).toEqual(["device", "port", "site"]);
});
