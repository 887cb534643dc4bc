import { expect, test } from "vitest";
import { sweepRetention } from "../../db/retention.ts";
import { anOperation, browsing, openConsole, signedIn, tokenIn } from "./browsing.ts";
import { serving } from "./serving.ts";

test("without a key every page leads to signing in, and back to where one was going", async () => {
  await using server = await serving();
  const key = await server.key("viewer");
  const browser = browsing(server);
  const away = await browser.get("/operations?state=open");
  expect(away.status).toBe(302);
  expect(away.location).toBe("/sign-in?next=%2Foperations%3Fstate%3Dopen");
  const asked = await browser.get(away.location!);
  expect(asked.html).toContain('value="/operations?state=open"');
  const back = await browser.post("/sign-in", { key, next: "/operations?state=open" });
  expect([back.status, back.location]).toEqual([303, "/operations?state=open"]);
  expect((await browser.get(back.location!)).status).toBe(200);
});

test("the cookie holds nothing of the key, is out of reach of script, and of other sites", async () => {
  await using server = await serving();
  const key = await server.key("viewer");
  const { headers } = await browsing(server).post("/sign-in", { key, next: "/" });
  const cookie = headers.get("set-cookie")!;
  expect(cookie).toMatch(/^holdfast_session=[\w-]{43}; /);
  expect(cookie).toContain("HttpOnly");
  expect(cookie).toContain("SameSite=Strict");
  expect(cookie).not.toContain(key);
  const over = await browsing(server).post(
    "/sign-in",
    { key, next: "/" },
    { "x-forwarded-proto": "https", "sec-fetch-site": "same-origin" },
  );
  expect(over.headers.get("set-cookie")).toContain("Secure");
});

test("signing in leads to places on this server only", async () => {
  await using server = await serving();
  const key = await server.key("viewer");
  for (const next of [
    "https://evil.example/",
    "//evil.example",
    "/\\evil.example",
    "/.//evil.example",
    "javascript:alert(1)",
    "",
  ]) {
    const { status, location } = await browsing(server).post("/sign-in", { key, next });
    expect(status).toBe(303);
    expect(location).toMatch(/^\/(?![/\\])/);
  }
});

test("an unknown key is refused with a sentence, and no session begins", async () => {
  await using server = await serving();
  const browser = browsing(server);
  const { status, html } = await browser.post("/sign-in", { key: "hf_nonsense", next: "/" });
  expect(status).toBe(401);
  expect(html).toContain("unknown or revoked");
  expect(browser.cookie).toBe("");
});

test("a revoked key ends its session at once, and signing out ends it for good", async () => {
  await using server = await serving();
  const browser = await signedIn(server, "operator");
  const [key] = await server.holdfast.key.list();
  expect((await browser.get("/")).status).toBe(200);
  await server.holdfast.key.revoke(key!.id);
  expect((await browser.get("/")).status).toBe(302);

  const other = await signedIn(server, "operator");
  const cookie = other.cookie;
  const out = await other.post("/sign-out", { token: tokenIn(await other.get("/")) });
  expect(out.location).toBe("/sign-in");
  other.cookie = cookie;
  expect((await other.get("/")).status).toBe(302);
});

test("a session holds on every replica and over a restart, until it is ended on any of them", async () => {
  await using server = await serving();
  const browser = await signedIn(server, "operator");
  const token = tokenIn(await browser.get("/"));
  await using replica = await serving({ database: server.databaseUrl });
  const there = browsing(replica);
  there.cookie = browser.cookie;
  expect((await there.get("/")).status).toBe(200);
  const { cookie } = there;
  expect((await there.post("/sign-out", { token })).location).toBe("/sign-in");
  for (const one of [browser, there]) {
    one.cookie = cookie;
    expect((await one.get("/")).status).toBe(302);
  }
});

test("a session ends after half a day, and the rows that are left of it go", async () => {
  await using server = await serving();
  const browser = await signedIn(server, "operator");
  const { db } = server.holdfast;
  const { rows } = await db.query<{ hours: number }>(
    "select extract(epoch from ends_at - began_at)::float8 / 3600 as hours from holdfast.sessions",
  );
  expect(rows).toEqual([{ hours: expect.closeTo(12, 2) }]);
  await db.query("update holdfast.sessions set ends_at = clock_timestamp()");
  expect((await browser.get("/")).status).toBe(302);
  await db.query("update holdfast.sessions set ends_at = ends_at - interval '2 days'");
  expect(await db.transaction((tx) => sweepRetention(tx))).toMatchObject({ sessions: 1 });
});

test("what stands in the database signs nobody in, and one key has no endless sessions", async () => {
  await using server = await serving();
  const key = await server.key("viewer");
  for (let n = 0; n < 103; n++) await server.holdfast.session.begin(key);
  const { rows } = await server.holdfast.db.query<{ hash: Buffer }>(
    "select hash from holdfast.sessions order by began_at",
  );
  expect(rows).toHaveLength(100);
  const browser = browsing(server);
  for (const coding of ["hex", "base64url"] as const) {
    browser.cookie = `holdfast_session=${rows[0]!.hash.toString(coding)}`;
    expect((await browser.get("/")).status).toBe(302);
  }
});

test("a viewer is shown no act, and a forged one changes nothing", async () => {
  await using server = await serving();
  const id = await anOperation(server);
  const viewer = await signedIn(server, "viewer");
  const page = await viewer.get(`/operations/${id}`);
  expect(page.html).not.toMatch(/>(Cancel|Pause|Run again)</);
  expect((await viewer.get(`/operations/${id}/cancel`)).status).toBe(403);
  const token = tokenIn(page);
  for (const act of ["cancel", "pause", "resume", "retry"]) {
    const forged = await viewer.post(`/operations/${id}/${act}`, {
      token,
      typed: id.slice(-8),
      reason: "x",
    });
    expect(forged.status).toBe(403);
    expect(forged.html).toContain("needs operator");
  }
  expect(await server.holdfast.operation.audit(id)).toEqual([]);
});

test("a form without its own token, from another session, or from another site changes nothing", async () => {
  await using server = await serving();
  const id = await anOperation(server);
  const operator = await signedIn(server, "operator");
  const other = await signedIn(server, "operator");
  const typed = id.slice(-8);
  const token = tokenIn(await operator.get(`/operations/${id}/cancel`));
  const foreign = tokenIn(await other.get(`/operations/${id}/cancel`));
  const path = `/operations/${id}/cancel`;
  for (const sent of [
    operator.post(path, { typed }),
    operator.post(path, { typed, token: foreign }),
    operator.post(path, { typed, token }, { "sec-fetch-site": "cross-site" }),
    operator.post(path, { typed, token }, { "sec-fetch-site": "same-site" }),
    operator.post(path, { typed, token }, { origin: "https://evil.example" }),
    operator.post(path, { typed, token }, { origin: "null" }),
    operator.post(path, { typed, token }, {}),
    operator.post("/sign-out", { token }, { "sec-fetch-site": "cross-site" }),
    browsing(server).post(
      "/sign-in",
      { key: await server.key("viewer") },
      { origin: "https://evil.example" },
    ),
  ]) {
    expect((await sent).status).toBe(403);
  }
  expect((await browsing(server).post(path, { typed, token })).status).toBe(401);
  expect((await server.holdfast.operation.get(id)).cancelRequestedAt).toBeNull();
});

test("a key of one tenant sees nothing of the others, by list, by id or by form", async () => {
  await using server = await serving();
  const mine = await anOperation(server, { tenant: "acme" });
  const theirs = await anOperation(server, { tenant: "north-wind" });
  await server.holdfast.brake.set("tenant", "north-wind", "their reason");
  const operator = await signedIn(server, "operator", ["acme"]);
  const list = await operator.get("/operations");
  expect(list.html).toContain(mine);
  expect(list.html).not.toContain(theirs);
  expect((await operator.get(`/operations/${theirs}`)).status).toBe(404);
  expect((await operator.get(`/operations/${theirs}/live`)).status).toBe(404);
  const token = tokenIn(await operator.get(`/operations/${mine}`));
  const sent = await operator.post(`/operations/${theirs}/cancel`, {
    token,
    typed: theirs.slice(-8),
  });
  expect(sent.status).toBe(404);
  const overview = await operator.get("/");
  expect(overview.html).not.toContain("their reason");
  expect(overview.html).not.toContain("Findings of the doctor");
});

test("with sign-in off a name that somebody points at this machine does not work", async () => {
  await using server = await openConsole();
  const answer = await server.app.request("http://evil.example/");
  expect(answer.status).toBe(421);
  expect(await answer.text()).toContain("localhost only");
});
