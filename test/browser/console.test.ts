import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readSettings } from "../../config.ts";
import { seedConsole, type Seeded } from "../../dev/seed-console.ts";
import { startServer } from "../../server/listen.ts";
import { anOperation } from "../server/browsing.ts";
import { listening, type Listening } from "../server/listening.ts";
import { documents } from "../support/fresh.ts";
import { preparedByHand } from "../support/retain-by-hand.ts";
import { fillIndexes } from "../support/searching.ts";
import { LOOKS, openPage, screenshot, startBrowser } from "./browser.ts";

let server: Listening;
let base: string;
let browser: Browser;
let seeded: Seeded;

beforeAll(async () => {
  server = await listening({ HOLDFAST_POOL: "8" });
  seeded = await seedConsole(server.holdfast.db, 60);
  const { id } = await server.holdfast.retain.submit({ bank: "handbook", items: documents(8) });
  await (await preparedByHand(server.holdfast.db, id)).commit();
  await fillIndexes(server.holdfast.db, {}, "holdfast");
  await server.holdfast.db.query(
    `update holdfast.index_lanes set failing_since = now(), last_error = 'deadlock detected'
      where lane = 2`,
  );
  base = server.url;
  browser = await startBrowser();
}, 120_000);

afterAll(async () => {
  await browser?.close();
  await server?.[Symbol.asyncDispose]();
}, 30_000);

test("a newcomer signs in, finds an operation, reads its logs, cancels it, and finds the act in its audit", async () => {
  const { page, complaints } = await openPage(browser, base);
  await page.goto("/operations?state=open");
  await page.getByLabel("API key").fill(await server.key("operator"));
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL("**/operations?state=open");

  await page.getByLabel("state").selectOption("accepted");
  await page.getByRole("button", { name: "Filter" }).click();
  await page.waitForURL("**state=accepted**");
  await page.getByLabel("state").selectOption("open");
  await page.getByRole("button", { name: "Filter" }).click();
  await page.locator(`a[href="/operations/${seeded.running}"]`).first().click();
  await page.getByRole("heading", { name: "Progress" }).waitFor();
  await screenshot(page, "walk-operation");

  await page.getByRole("link", { name: "warn and above" }).click();
  await page.waitForURL("**level=warn#logs");
  expect(await page.locator("#logs tbody tr").count()).toBeGreaterThan(0);
  expect(await page.locator("#logs .state").allTextContents()).not.toContain("info");

  await page.getByRole("link", { name: "Cancel" }).click();
  await screenshot(page, "walk-cancel");
  await page.getByLabel(/To confirm/).fill(seeded.running.slice(-8));
  await page.getByRole("button", { name: "Cancel this operation" }).click();
  await page.waitForURL("**?did=cancel");
  await page.getByText("Cancelling.").waitFor();
  expect(await page.locator("#audit tbody tr").allTextContents()).toEqual([
    expect.stringContaining("operation.cancel"),
  ]);
  await screenshot(page, "walk-audit");
  expect(complaints).toEqual([]);
  expect((await server.holdfast.operation.get(seeded.running)).shown).toBe("cancelling");
}, 60_000);

test("the same walk works without script", async () => {
  const { page } = await openPage(browser, base, LOOKS[0], { script: false });
  const id = await anOperation(server, { ending: "accepted", items: 3 });
  await page.goto(`/operations/${id}/cancel`);
  await page.getByLabel("API key").fill(await server.key("operator"));
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByLabel(/To confirm/).fill(id.slice(-8));
  await page.getByRole("button", { name: "Cancel this operation" }).click();
  await page.getByText("cancelled on request").first().waitFor();
  expect(await page.locator("#audit tbody tr").count()).toBe(1);
}, 60_000);

test("every page fits its screen and raises no complaint, wide and narrow, light and dark", async () => {
  const key = await server.key("operator");
  for (const look of LOOKS) {
    const { page, complaints } = await openPage(browser, base, look);
    await page.goto("/sign-in");
    await screenshot(page, "sign-in", look);
    await page.getByLabel("API key").fill(key);
    await page.getByRole("button", { name: "Sign in" }).click();
    for (const [name, path] of [
      ["overview", "/"],
      ["operations", "/operations"],
      ["operations-none", "/operations?kind=plan"],
      ["operation-failed", `/operations/${seeded.failed}?outcome=failed`],
      ["operation-paused", `/operations/${seeded.paused}`],
      ["pause", `/operations/${seeded.accepted}/pause`],
      ["retry", `/operations/${seeded.failed}/retry`],
      ["jobs", "/jobs"],
      ["jobs-none", "/jobs?pipeline=nobody"],
      ["job", `/jobs/${seeded.jobs.running}`],
      ["job-unserved", `/jobs/${seeded.jobs.unserved}`],
      ["job-failed", `/jobs/${seeded.jobs.failed}?level=error`],
      ["job-results", `/jobs/${seeded.jobs.running}/results`],
      ["job-late", `/jobs/${seeded.jobs.running}/results?show=late`],
      ["job-again", `/operations/${seeded.jobs.cancelled}/retry`],
      ["search", "/search?text=doc"],
      ["search-nothing", "/search?text=nowhere"],
      ["search-empty", "/search"],
      ["search-status", "/search/status"],
      ["banks", "/banks"],
      ["bank", "/banks/handbook?tenant=default"],
      ["document", "/banks/handbook/documents/doc-1?tenant=default"],
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
}, 120_000);

test("what was retained is found by typing it, with script and without, and leads to where it is", async () => {
  for (const script of [true, false]) {
    const { page, complaints } = await openPage(browser, base, LOOKS[0], { script });
    await page.goto("/search");
    await page.getByLabel("API key").fill(await server.key("viewer"));
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForURL("**/search");
    await page.getByRole("searchbox").fill("DOC-3");
    await page.getByLabel("type").selectOption("document");
    await page.getByRole("button", { name: "Search", exact: true }).click();
    await page.waitForURL("**text=DOC-3**");
    expect(await page.locator("mark").allTextContents()).toEqual(["doc-3"]);
    await page.getByRole("link", { name: "doc-3" }).click();
    await page.getByRole("heading", { name: "doc-3" }).waitFor();
    expect(complaints).toEqual([]);
    await page.context().close();
  }
}, 60_000);

test("a cancelled job is found, and what was left of it run again, without script", async () => {
  const { page, complaints } = await openPage(browser, base, LOOKS[1], { script: false });
  const id = seeded.jobs.cancelled;
  await page.goto("/jobs");
  await page.getByLabel("API key").fill(await server.key("operator"));
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByLabel("state").selectOption("cancelled");
  await page.getByRole("button", { name: "Filter" }).click();
  await page.waitForURL("**state=cancelled**");
  await page.locator(`a[href="/jobs/${id}"]`).first().click();
  await page.getByRole("link", { name: "Run again" }).click();
  await page.getByLabel(/never worked/).check();
  await page.getByRole("button", { name: "Run again" }).click();
  await page.waitForURL(`**/jobs/${id}?did=retry`);
  await page.getByText("Accepted again").waitFor();
  expect(complaints).toEqual([]);
  expect((await server.holdfast.job.get(id)).generation).toBe(2);
}, 60_000);

test("an open page follows what happens by itself, and ends with what it shows", async () => {
  const { page, complaints } = await openPage(browser, base);
  const id = await anOperation(server, { ending: "accepted", items: 5 });
  await page.goto(`/operations/${id}`);
  await page.getByLabel("API key").fill(await server.key("viewer"));
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("0 of 5").first().waitFor();
  await page.getByText("Live", { exact: true }).waitFor();
  await server.holdfast.operation.cancel(id);
  await page.getByText("cancelled on request").first().waitFor();
  await page.getByText("will not change any more").waitFor();
  expect(complaints).toEqual([]);
}, 60_000);

test("a page that has lost its server says how old it is, and comes back by itself", async () => {
  const start = (port: number) =>
    startServer({
      settings: readSettings({
        DATABASE_URL: server.databaseUrl,
        HOLDFAST_AUTH: "off",
        HOLDFAST_LOG: "silent",
        HOLDFAST_PORT: String(port),
      }),
    });
  const first = await start(0);
  const { page } = await openPage(browser, first.url);
  await page.goto("/operations");
  await page.getByText("Live", { exact: true }).waitFor();
  await first.stop();
  await page.getByText(/Last update \d+ s ago/).waitFor({ timeout: 30_000 });
  const second = await start(first.port);
  await page.getByText("Live", { exact: true }).waitFor({ timeout: 30_000 });
  await page.context().close();
  await second.stop();
}, 90_000);
