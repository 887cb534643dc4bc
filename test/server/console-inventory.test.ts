import { expect, test } from "vitest";
import { seedInventory } from "../../dev/seed-inventory.ts";
import { openConsole, sectionOf, signedIn, tokenIn } from "./browsing.ts";
import { serving } from "./serving.ts";

/** Whoever looks, with an inventory, deviations of every kind, a held branch and a plan before them. */
async function looking() {
  const server = await openConsole();
  return Object.assign(server, { seeded: await seedInventory(server.holdfast.db) });
}

test("every page of inbox, review, plans and inventory is shown, empty and filled, without a worker", async () => {
  await using server = await openConsole();
  for (const path of ["/inbox", "/review", "/plans", "/inventory", "/"]) {
    const page = await server.get(path);
    expect([path, page.status]).toEqual([path, 200]);
    if (path !== "/") expect(page.html).toContain("holdfast ");
  }
  const seeded = await seedInventory(server.holdfast.db);
  for (const [path, text] of [
    ["/", "to decide"],
    ["/inbox", "default / staging"],
    [`/inbox/requests/${seeded.request}`, "must be text, not a number"],
    ["/review", "Device sw1.ams1 modified"],
    ["/review?state=ignored", "the role is being discussed"],
    [`/review/${seeded.update}`, "JPE20269999"],
    [`/review/${seeded.create}`, "not there yet"],
    [`/review/${seeded.long}`, "2,070 characters"],
    [`/review/${seeded.failed}`, "nothing names this vlan"],
    [`/review/${seeded.waiting}`, "or as soon as"],
    [`/review/${seeded.applied}`, "tags by themselves"],
    ["/plans", "CHG-20417"],
    [`/plans/${seeded.plan}`, "4 to decide"],
    [`/operations/${seeded.plan}`, `/plans/${seeded.plan}`],
    ["/inventory", "Interface"],
    ["/inventory?type=device&text=sw1", "sw1.lon3"],
    [`/inventory/objects/${seeded.object}`, "Interface Ethernet1"],
  ] as const) {
    const page = await server.get(path);
    expect([path, page.status]).toEqual([path, 200]);
    expect(page.html, path).toContain(text);
    expect(page.html, path).not.toContain("left out:");
  }
  expect(server.errors).toEqual([]);
});

test("a decision binds to the plan that was shown: another one is refused, and said to be another", async () => {
  await using server = await looking();
  const { update } = server.seeded;
  const address = `/review/${update}/decide`;
  const page = await server.get(`/review/${update}`);
  const [, hash] = /name="hash" value="([0-9a-f]{64})"/.exec(page.html)!;
  const token = tokenIn(page);

  const stale = await server.post(address, { token, act: "approve", hash: "0".repeat(64) });
  expect(stale.html).toContain("its plan is another now: look again");
  expect((await server.holdfast.review.get(update)).approved).toBe(false);

  const sent = await server.post(address, { token, act: "approve", hash: hash!, reason: "agreed" });
  expect([sent.status, sent.location]).toEqual([303, `/review/${update}?did=approve&decided=1`]);
  expect((await server.get(sent.location!)).html).toContain("1 deviation approved.");
  expect(await server.holdfast.review.get(update)).toMatchObject({
    approved: true,
    decidedBy: "local",
  });

  const again = await server.post(address, { token, act: "approve", hash: hash! });
  expect(again.html).toContain("approved already by local");
});

test("those that were chosen are decided together; what stays as it is says why", async () => {
  await using server = await looking();
  const { update, create, failed } = server.seeded;
  const page = await server.get("/review?type=device");
  const token = tokenIn(page);
  const hashOf = (id: string, html = page.html) =>
    new RegExp(`name="pick.${id}" value="([0-9a-f]{64})"`).exec(html)![1]!;
  const both = { [`pick.${update}`]: hashOf(update), [`pick.${create}`]: hashOf(create) };
  const common = { token, tenant: "default", back: "?type=device&evil=1" };

  const none = await server.post("/review/decide", { ...common, act: "approve" });
  expect([none.status, none.html.includes("none is chosen")]).toEqual([400, true]);

  const sent = await server.post("/review/decide", { ...common, ...both, act: "approve" });
  expect([sent.status, sent.location]).toEqual([303, "/review?type=device&did=approve&decided=2"]);

  const part = await server.post("/review/decide", {
    ...common,
    ...both,
    [`pick.${failed}`]: "none",
    act: "ignore",
  });
  expect(part.location).toBe("/review?type=device&did=ignore&decided=3");
  const over = await server.post("/review/decide", { ...common, ...both, act: "ignore" });
  expect(over.status).toBe(409);
  expect(over.html).toContain("reopen it first");
});

test("all of a filter is decided by an operation, after a page that says how many and asks for the word", async () => {
  await using server = await looking();
  const address = "/review/all?type=interface&act=approve";
  const page = await server.get(address);
  expect(page.html).toContain("<strong>3 deviations</strong>");
  expect(page.html).toContain("Interface Ethernet9 created");
  const token = tokenIn(page);
  const wrong = await server.post(address, { token, typed: "yes" });
  expect([wrong.status, wrong.html.includes("type exactly approve")]).toEqual([400, true]);
  const sent = await server.post(address, { token, typed: "approve" });
  expect(sent.status).toBe(303);
  const operation = await server.holdfast.operation.get(sent.location!.split("/").at(-1)!);
  expect([operation.kind, operation.total]).toEqual(["review", 3]);
});

test("a held branch says why, and goes on after somebody typed its name", async () => {
  await using server = await looking();
  const address = "/inbox/lift?tenant=acme&branch=main";
  expect((await server.get("/inbox")).html).toContain("acme / main is held");
  const page = await server.get(address);
  expect(page.html).toContain("40 objects");
  const token = tokenIn(page);
  expect((await server.post(address, { token, typed: "acme" })).status).toBe(400);
  expect(await server.holdfast.inventory.holds.list()).toHaveLength(1);
  expect((await server.post(address, { token, typed: "main" })).status).toBe(303);
  expect(await server.holdfast.inventory.holds.list()).toEqual([]);
  expect((await server.get(address)).status).toBe(404);
});

test("a plan is approved in part and as a whole, bound to what was shown", async () => {
  await using server = await looking();
  const { plan } = server.seeded;
  const page = await server.get(`/plans/${plan}`);
  const token = tokenIn(page);
  const [, hash] = /name="hash" value="([0-9a-f]{64})"/.exec(sectionOf(page, "decide"))!;
  const [, id, one] = /name="pick\.(\d+)" value="([0-9a-f]{64})"/.exec(page.html)!;
  const address = `/plans/${plan}/decide`;

  const part = await server.post(address, { token, act: "reject", [`pick.${id}`]: one! });
  expect([part.status, part.location]).toEqual([303, `/plans/${plan}?did=reject&decided=1`]);
  const stale = await server.post(address, { token, act: "approve", hash: hash! });
  expect(stale.html).toContain("the plan is another now");
  const now = /name="hash" value="([0-9a-f]{64})"/.exec(sectionOf(stale, "decide"))![1]!;
  const whole = await server.post(address, { token, act: "approve", hash: now });
  expect(whole.status).toBe(303);
  expect((await server.holdfast.plan.get(plan)).counts).toMatchObject({ approved: 3, waiting: 0 });
});

test("a viewer sees what waits and may decide nothing; another tenant's is not there", async () => {
  await using server = await serving();
  const seeded = await seedInventory(server.holdfast.db);
  const viewer = await signedIn(server, "viewer");
  const list = await viewer.get("/review");
  expect(list.html).toContain("sw1.ams1");
  expect(list.html).not.toContain('name="act"');
  const page = await viewer.get(`/review/${seeded.update}`);
  expect(page.html).not.toContain('name="act"');
  const token = tokenIn(await viewer.get("/"));
  const sent = await viewer.post(`/review/${seeded.update}/decide`, { token, act: "approve" });
  expect(sent.status).toBe(403);
  expect((await viewer.get("/inbox/lift?tenant=acme&branch=main")).status).toBe(403);

  const stranger = await signedIn(server, "admin", ["acme"]);
  for (const path of [
    `/review/${seeded.update}`,
    `/plans/${seeded.plan}`,
    `/inventory/objects/${seeded.object}`,
    `/inbox/requests/${seeded.request}`,
  ]) {
    expect([path, (await stranger.get(path)).status]).toEqual([path, 404]);
  }
  const theirs = await stranger.get("/");
  expect(theirs.html).not.toContain("ams1");
  expect((await stranger.get("/inventory")).html).not.toContain("default / main");
});
