import { expect, test } from "vitest";
import { createInventory, fillIndexes, INVENTORY_TYPES } from "../support/searching.ts";
import { browsing, signedIn, type Shown } from "./browsing.ts";
import { serving, type Serving } from "./serving.ts";

const config = {
  search: { types: INVENTORY_TYPES, builtIn: false, schemas: ["public", "branch"] },
};

async function withInventory(auth: "on" | "off" = "off"): Promise<Serving> {
  const server = await serving({ auth, config });
  const { db } = server.holdfast;
  for (const schema of ["public", "branch"]) await createInventory(db, schema);
  await db.query(
    `insert into public.sites (id, name, description, status, tenant)
     select i, 'hall ' || lpad(i::text, 3, '0'), 'cold <b>aisle</b> & racks', 'active',
            case when i % 2 = 0 then 'acme' else 'other' end
       from generate_series(1, 120) i`,
  );
  await db.query("insert into branch.sites (id, name) values (1, 'branch hall')");
  for (const schema of ["public", "branch"]) await fillIndexes(db, config, schema);
  return server;
}

test("before anything is installed the page says which command makes it searchable", async () => {
  await using server = await serving({ auth: "off", config });
  const browser = browsing(server);
  expect((await browser.get("/search")).html).toContain("holdfast search query");
  const page = await browser.get("/search?text=hall");
  expect(page.status).toBe(200);
  expect(page.html).toContain("holdfast search install");
});

test("a search is its address: text, look-up, type and schema stand in the form that comes back", async () => {
  await using server = await withInventory();
  const browser = browsing(server);
  const page = await browser.get("/search?text=HALL+00&lookup=starts-with&type=site&schema=public");
  expect(page.status).toBe(200);
  expect(page.html).toContain('value="HALL 00"');
  for (const chosen of ["starts-with", "site", "public"]) {
    expect(page.html).toMatch(new RegExp(`<option value="${chosen}" selected="">`));
  }
  expect(page.html).toContain('<optgroup label="Places">');
  expect(page.html).toContain("9 objects found");
  expect(page.html).toContain('<mark class="mark">hall 00</mark>1');
  expect(page.html).toContain("Status: active");
  expect(page.html).toContain('<a href="https://inventory.example/sites/1">hall 001</a>');
  const branch = await browser.get("/search?text=hall&lookup=&type=&schema=branch");
  expect(branch.html).toContain("1 object found");
});

test("what is found stands on the page as text, with the match marked", async () => {
  await using server = await withInventory();
  const page = await browsing(server).get("/search?text=%3Cb%3EAISLE&type=site");
  expect(page.html).toContain(
    'cold <mark class="mark">&lt;b&gt;aisle</mark>&lt;/b&gt; &amp; racks',
  );
  expect(page.html).not.toContain("<b>");
});

test("results are read to their end by the links, each once", async () => {
  await using server = await withInventory();
  const browser = browsing(server);
  const seen: string[] = [];
  let path: string | undefined = "/search?text=hall&schema=public";
  while (path) {
    const page: Shown = await browser.get(path);
    seen.push(...[...page.html.matchAll(/sites\/(\d+)"/g)].map((hit) => hit[1]!));
    path = /<a href="([^"]+)" rel="next"/.exec(page.html)?.[1]?.replaceAll("&amp;", "&");
  }
  expect(seen).toEqual(Array.from({ length: 120 }, (_, i) => String(i + 1)));
});

test("what cannot be searched is refused by name, above the form to put it right", async () => {
  await using server = await withInventory();
  const browser = browsing(server);
  for (const [query, named] of [
    ["text=%28&lookup=regex", "regular expression"],
    ["text=x&type=house", "house"],
    ["text=x&schema=nowhere", "nowhere"],
    ["text=x&lookup=fuzzy", "lookup"],
    ["text=x&after=1", "after"],
  ]) {
    const page = await browser.get(`/search?${query}`);
    expect(page.status, query).toBe(400);
    expect(page.html).toContain("This search cannot be done");
    expect(page.html).toContain(named);
    expect(page.html).toContain('name="text"');
  }
});

test("somebody of one tenant finds what is theirs", async () => {
  await using server = await withInventory("on");
  const browser = await signedIn(server, "viewer", ["acme"]);
  const page = await browser.get("/search?text=hall");
  expect(page.html).toContain("60 objects found");
  expect(page.html).not.toContain("hall 001");
  expect(page.html).not.toContain('value="port"');
});

test("the status shows what waits, what is held and what to do, and the navigation counts what fails", async () => {
  await using server = await withInventory();
  const { db } = server.holdfast;
  await db.query(
    `update holdfast.search_indexes set drifted_at = now(), drift_reason = 'column "name" is gone'
      where schema_name = 'branch' and type = 'site'`,
  );
  await db.query(
    "insert into holdfast.index_marks (lane, schema_name, type, keys) values (1, 'public', 'site', '{1}')",
  );
  await db.query(
    `update holdfast.index_lanes set failing_since = now(), last_error = 'deadlock <detected>' where lane = 2`,
  );
  const browser = browsing(server);
  const { html } = await browser.get("/search/status");
  expect(html).toContain("1 mark waits to be applied");
  expect(html).toContain("column &quot;name&quot; is gone");
  expect(html).toContain("deadlock &lt;detected&gt;");
  expect(html).toContain("2 failing");
  expect(html).toContain("follows its table");
});
