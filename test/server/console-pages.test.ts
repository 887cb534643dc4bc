import pg from "pg";
import { pino } from "pino";
import { expect, test } from "vitest";
import { connect } from "../../client/index.ts";
import { createServer } from "../../server/server.ts";
import { documents } from "../support/fresh.ts";
import { preparedByHand } from "../support/retain-by-hand.ts";
import { anOperation, openConsole, sectionOf, type Shown } from "./browsing.ts";

const FORBIDDEN = /<script(?![^>]*\bsrc=")|<style|\sstyle="|\son[a-z]+="|javascript:/i;

test("with no data every page says what would fill it, and the command that does", async () => {
  await using server = await openConsole();
  const overview = await server.get("/");
  expect(overview.status).toBe(200);
  expect(overview.html).toContain("holdfast doctor");
  expect(overview.html).toContain("holdfast worker");
  for (const path of ["/operations", "/banks"]) {
    const page = await server.get(path);
    expect(page.status).toBe(200);
    expect(page.html).toContain("holdfast retain submit");
  }
});

test("no page holds script or style of its own, and its headers allow none", async () => {
  await using server = await openConsole();
  const id = await anOperation(server);
  for (const path of [
    "/",
    "/operations",
    `/operations/${id}`,
    `/operations/${id}/cancel`,
    "/search",
    "/search?text=x",
    "/search/status",
    "/banks",
  ]) {
    const { html, headers } = await server.get(path);
    expect(html).not.toMatch(FORBIDDEN);
    expect(headers.get("content-security-policy")).toMatch(
      /^default-src 'none'; script-src 'self'; style-src 'self'/,
    );
    expect(headers.get("content-security-policy")).not.toContain("unsafe");
    expect(headers.get("referrer-policy")).toBe("same-origin");
    expect(headers.get("x-frame-options")).toBe("DENY");
    expect(headers.get("cache-control")).toBe("no-store");
  }
});

test("whatever people write stands on the page as text", async () => {
  await using server = await openConsole();
  const hostile = `"><script>alert('x')</script><img src=x onerror=alert(1)>`;
  const id = await anOperation(server, {
    ending: "failed",
    items: 3,
    bank: hostile,
    key: hostile.replaceAll(" ", "_"),
    itemKey: (no) => `${hostile}-${no}`,
    reason: hostile,
    logLine: hostile,
  });
  await server.holdfast.brake.set("tenant", "default", hostile);
  const filter = `/operations?tenant=${encodeURIComponent(hostile)}`;
  for (const path of ["/", "/operations", `/operations/${id}`, `/operations/${id}/retry`, filter]) {
    const { html } = await server.get(path);
    expect(html).not.toContain("<script>");
    expect(html).not.toContain("<img src=x");
    expect(html).not.toMatch(FORBIDDEN);
  }
  const page = await server.get(`/operations/${id}`);
  expect(page.html).toContain("&lt;script&gt;");
});

test("a list is read to its end by its links, each operation once", async () => {
  await using server = await openConsole();
  const made = [];
  for (let i = 0; i < 120; i++) {
    made.push(await anOperation(server, { ending: "accepted", items: 1, ageMs: i * 1_000 }));
  }
  const seen: string[] = [];
  let path: string | undefined = "/operations?kind=retain";
  while (path) {
    const page: Shown = await server.get(path);
    seen.push(...[...page.html.matchAll(/<code title="([0-9a-f-]{36})"/g)].map((hit) => hit[1]!));
    path = /<a href="([^"]+)" rel="next"/.exec(page.html)?.[1]?.replaceAll("&amp;", "&");
  }
  expect(seen).toEqual(made);
});

test("the filter is the address: by state, kind, tenant, scope and time", async () => {
  await using server = await openConsole();
  const old = await anOperation(server, { ending: "completed", ageMs: 3 * 3_600_000, items: 2 });
  const recent = await anOperation(server, { ending: "accepted", bank: "notes", items: 2 });
  const shows = async (query: string) => {
    const { html } = await server.get(`/operations?${query}`);
    return [html.includes(old), html.includes(recent)];
  };
  expect(await shows("")).toEqual([true, true]);
  expect(await shows("state=open&kind=&tenant=")).toEqual([false, true]);
  expect(await shows("state=completed")).toEqual([true, false]);
  expect(await shows("since=1h")).toEqual([false, true]);
  expect(await shows("scope=letters&tenant=default")).toEqual([true, false]);
  expect(await shows("kind=job")).toEqual([false, false]);
});

test("a filter that cannot be used is refused by name, with the way back", async () => {
  await using server = await openConsole();
  for (const [query, named] of [
    ["kind=nonsense", "kind"],
    ["state=nonsense", "state"],
    ["since=yesterday", "since"],
    ["after=1", "after"],
    ["tenant=a%20b", "tenant"],
  ]) {
    const { status, html } = await server.get(`/operations?${query}`);
    expect(status).toBe(400);
    expect(html).toContain(`cannot be used: ${named}`);
    expect(html).toContain('href="/operations"');
  }
});

test("an operation shows items by outcome, its children, logs by level, and its timeline", async () => {
  await using server = await openConsole();
  const id = await anOperation(server, {
    ending: "failed",
    items: 250,
    reason: "the file is empty",
  });
  const whole = await server.get(`/operations/${id}`);
  expect(whole.html).toContain("250 of 250");
  expect(whole.html).toContain("3 sub-batches");
  expect(whole.html).toContain("accepted from importer");

  const failed = await server.get(`/operations/${id}?outcome=failed`);
  const items = sectionOf(failed, "items");
  expect(items).toContain("the file is empty");
  expect(items).not.toContain("</svg>succeeded</span></td>");

  const warnings = sectionOf(await server.get(`/operations/${id}?level=warn`), "logs");
  expect(warnings).toContain("</svg>warn</span>");
  expect(warnings).not.toContain("</svg>info</span>");
});

test("an operation with more than fits is read to its end by its links", async () => {
  await using server = await openConsole();
  const id = await anOperation(server, { ending: "completed", items: 70 });
  const seen = [];
  let path: string | undefined = `/operations/${id}`;
  while (path) {
    const items: string = sectionOf(await server.get(path), "items");
    seen.push(...[...items.matchAll(/letters\/2026\/(\d+)\.md"/g)].map((hit) => Number(hit[1])));
    path = /<a href="([^"#]+)#items" rel="next"/.exec(items)?.[1]?.replaceAll("&amp;", "&");
  }
  expect([...new Set(seen)]).toEqual(Array.from({ length: 70 }, (_, i) => i + 1));
});

test("what is not there is a page that says so and where to look", async () => {
  await using server = await openConsole();
  const missing = await server.get("/operations/01900000-0000-7000-8000-000000000000");
  expect(missing.status).toBe(404);
  expect(missing.html).toContain("no operation 01900000");
  expect((await server.get("/operations/nonsense")).status).toBe(400);
  expect((await server.get("/banks/nobody")).status).toBe(404);
  expect((await server.get("/banks/nobody/documents/none")).status).toBe(404);
});

test("a document shows its parts and marks where each fact was taken from", async () => {
  await using server = await openConsole();
  for (const mode of ["replace", "append"] as const) {
    const { id } = await server.holdfast.retain.submit({
      bank: "letters/1843",
      items: documents(2).map((item) => ({
        ...item,
        mode,
        documentId: `${item.documentId}?a/b#c`,
      })),
    });
    await (await preparedByHand(server.holdfast.db, id)).commit();
  }
  const banks = await server.get("/banks");
  expect(banks.html).toContain("letters/1843");
  const bank = await server.get(hrefIn(banks, "letters/1843"));
  const page = await server.get(hrefIn(bank, "doc-1?a/b#c"));
  expect(page.status).toBe(200);
  const marked = [...page.html.matchAll(/class="mark"[^>]*>([^<]+)<\/a>/g)].map((hit) => hit[1]);
  expect(marked).toEqual([
    "Ada Lovelace wrote to Charles Babbage in letter 1.",
    "Ada Lovelace wrote to Charles Babbage in letter 1.",
  ]);
  expect(sectionOf(page, "parts").match(/\/operations\//g)).toHaveLength(2);
});

test("a part that takes too long is left out and says so; the rest of the page is there", async () => {
  await using server = await openConsole();
  const id = await anOperation(server, { ending: "accepted" });
  const other = new pg.Client({ connectionString: server.databaseUrl });
  await other.connect();
  try {
    await other.query(
      "begin; lock table holdfast.findings, holdfast.marks in access exclusive mode",
    );
    const { status, html } = await server.get("/");
    expect(status).toBe(200);
    expect(html).toContain("took longer than 2 s");
    expect(html).toContain("? findings");
    expect(html).toContain(`kind=retain`);
    expect((await server.get(`/operations/${id}`)).status).toBe(200);
  } finally {
    await other.end();
  }
});

test("with Postgres away every page says so once, and what to check", async () => {
  const holdfast = connect({ databaseUrl: "postgres://nobody:none@127.0.0.1:1/nothing" });
  const app = createServer({
    holdfast,
    settings: { auth: "off", namespace: "default" },
    log: pino({ level: "silent" }),
  });
  const id = "01900000-0000-7000-8000-000000000000";
  for (const path of ["/", "/operations", `/operations/${id}`, "/live", "/banks"]) {
    const answer = await app.request(`http://localhost${path}`);
    expect(answer.status).toBe(503);
    expect((await answer.text()).match(/Postgres did not answer/g)).toHaveLength(1);
  }
  await holdfast.close();
});

test("files are kept for ever under a name that changes with them", async () => {
  await using server = await openConsole();
  const { html } = await server.get("/");
  const paths = [...html.matchAll(/"(\/assets\/[^"]+)"/g)].map((hit) => hit[1]!);
  expect(new Set(paths).size).toBe(3);
  for (const path of new Set(paths)) {
    const file = await server.get(path);
    expect(file.status).toBe(200);
    expect(file.headers.get("cache-control")).toContain("immutable");
  }
});

function hrefIn({ html }: Shown, words: string): string {
  const found = new RegExp(`<a href="([^"]+)">${words.replaceAll(/[?/#.]/g, "\\$&")}</a>`).exec(
    html,
  );
  return found![1]!.replaceAll("&amp;", "&");
}
