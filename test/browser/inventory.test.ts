import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { seedInventory, type SeededInventory } from "../../dev/seed-inventory.ts";
import { listening, type Listening } from "../server/listening.ts";
import { LOOKS, openPage, screenshot, startBrowser } from "./browser.ts";

let server: Listening;
let browser: Browser;
let seeded: SeededInventory;

beforeAll(async () => {
  server = await listening({ HOLDFAST_POOL: "8" });
  seeded = await seedInventory(server.holdfast.db);
  browser = await startBrowser();
}, 120_000);

afterAll(async () => {
  await browser?.close();
  await server?.[Symbol.asyncDispose]();
}, 30_000);

test("every page of the inventory fits its screen and raises no complaint, wide and narrow, light and dark", async () => {
  const key = await server.key("operator");
  for (const look of LOOKS) {
    const { page, complaints } = await openPage(browser, server.url, look);
    await page.goto("/sign-in");
    await page.getByLabel("API key").fill(key);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForURL("**/");
    for (const [name, path] of [
      ["overview-inventory", "/"],
      ["inbox", "/inbox"],
      ["inbox-none", "/inbox?source=nobody"],
      ["inbox-request", `/inbox/requests/${seeded.request}`],
      ["inbox-lift", "/inbox/lift?tenant=acme&branch=main"],
      ["review", "/review"],
      ["review-none", "/review?type=cable"],
      ["review-all", "/review/all?act=reject&type=device"],
      ["deviation-update", `/review/${seeded.update}`],
      ["deviation-long", `/review/${seeded.long}`],
      ["deviation-failed", `/review/${seeded.failed}`],
      ["deviation-waits", `/review/${seeded.waiting}`],
      ["plans", "/plans"],
      ["plan", `/plans/${seeded.plan}`],
      ["inventory", "/inventory"],
      ["inventory-type", "/inventory?type=interface"],
      ["inventory-object", `/inventory/objects/${seeded.object}`],
    ] as const) {
      await page.goto(path);
      await page.getByRole("heading").first().waitFor();
      const overflow = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
      expect([name, look.width, overflow]).toEqual([name, look.width, 0]);
      await screenshot(page, name, look);
    }
    expect(complaints).toEqual([]);
    await page.context().close();
  }
}, 180_000);

test("a reviewer chooses some, approves them, and finds the one they are not sure of to ignore it", async () => {
  const { page, complaints } = await openPage(browser, server.url);
  await page.goto("/review?type=device");
  await page.getByLabel("API key").fill(await server.key("operator"));
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByLabel("title holds").fill("fra2 modified");
  await page.getByRole("button", { name: "Filter" }).click();
  await page.waitForURL("**text=fra2**");
  await page.getByLabel("all on this page").check();
  expect(await page.locator('input[name^="pick."]:checked').count()).toBe(2);
  await page.getByRole("button", { name: "Approve" }).click();
  await page.getByText("2 deviations approved.").waitFor();

  await page.goto("/review");
  await page.getByRole("link", { name: "Device sw1.ams1 modified" }).click();
  await page.getByLabel("why").fill("the site is being moved");
  await page.getByRole("button", { name: "Ignore" }).click();
  await page.getByText("1 deviation ignored.").waitFor();
  await page.getByText("the site is being moved").waitFor();
  expect(complaints).toEqual([]);
  expect(await server.holdfast.review.get(seeded.update)).toMatchObject({ state: "ignored" });
}, 60_000);

test("the same works without script: one is reopened, a plan approved, a hold lifted", async () => {
  const { page } = await openPage(browser, server.url, LOOKS[1], { script: false });
  await page.goto(`/review?state=ignored`);
  await page.getByLabel("API key").fill(await server.key("operator"));
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("link", { name: "Device sw3.ams1" }).click();
  await page.getByRole("button", { name: "Reopen" }).click();
  await page.getByText("1 deviation reopened.").waitFor();

  await page.goto(`/plans/${seeded.plan}`);
  await page.getByRole("button", { name: /Approve all \d+ that wait/ }).click();
  await page.getByText("approved", { exact: false }).first().waitFor();
  expect((await server.holdfast.plan.get(seeded.plan)).counts.waiting).toBe(0);

  await page.goto("/inbox");
  await page.getByRole("link", { name: "Lift…" }).click();
  await page.getByLabel(/To confirm/).fill("main");
  await page.getByRole("button", { name: "Lift the hold" }).click();
  await page.waitForURL("**/inbox?tenant=acme");
  expect(await server.holdfast.inventory.holds.list()).toEqual([]);
}, 60_000);
