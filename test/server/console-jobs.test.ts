import pg from "pg";
import { expect, test } from "vitest";
import { newContext } from "../../client/context.ts";
import { holdfastOver } from "../../client/index.ts";
import { markPullWorkersSeen } from "../../db/job-workers.ts";
import { appendLogs } from "../../db/logs.ts";
import type { Db } from "../../db/pool.ts";
import { seedJob, type NewJobSeed } from "../../dev/seed-jobs.ts";
import { jobsBody } from "../../server/console/jobs.tsx";
import { openConsole, sectionOf, signedIn, type Shown } from "./browsing.ts";
import { serving, type Serving } from "./serving.ts";

function aJob(server: Serving, seed: Partial<NewJobSeed> = {}): Promise<string> {
  return seedJob(server.holdfast.db, {
    ending: "running",
    pipeline: "ocr",
    items: 48,
    ageMs: 60_000,
    ...seed,
  });
}

const jobsIn = ({ html }: Shown) => [
  ...new Set([...html.matchAll(/href="\/jobs\/([0-9a-f-]{36})"/g)].map((hit) => hit[1]!)),
];

test("without a job the list says how one is submitted, and that nothing waits", async () => {
  await using server = await openConsole();
  const { status, html } = await server.get("/jobs");
  expect(status).toBe(200);
  expect(html).toContain("holdfast job submit");
  expect(html).toContain("no batch is ready");
  expect(html).toContain("Nobody has asked for work yet");
});

test("the filter is the address: by pipeline, state and tenant", async () => {
  await using server = await openConsole();
  const ended = await aJob(server, { ending: "completed", tenant: "acme" });
  const open = await aJob(server, { ending: "accepted", pipeline: "geocode" });
  const shown = async (query: string) => jobsIn(await server.get(`/jobs?${query}`));
  expect(await shown("")).toEqual([open, ended].toSorted().toReversed());
  expect(await shown("pipeline=ocr&state=&tenant=")).toEqual([ended]);
  expect(await shown("state=open")).toEqual([open]);
  expect(await shown("state=completed")).toEqual([ended]);
  expect(await shown("tenant=acme")).toEqual([ended]);
  expect(await shown("tenant=acme&state=open")).toEqual([]);
  for (const [query, named] of [
    ["pipeline=a%20b", "pipeline"],
    ["state=nonsense", "state"],
    ["tenant=a%20b", "tenant"],
    ["after=1", "after"],
  ]) {
    const { status, html } = await server.get(`/jobs?${query}`);
    expect(status).toBe(400);
    expect(html).toContain(`cannot be used: ${named}`);
    expect(html).toContain('href="/jobs"');
  }
});

test("a list is read to its end by its links, each job once", async () => {
  await using server = await openConsole();
  const made: string[] = [];
  for (let i = 0; i < 60; i++) {
    made.push(await aJob(server, { ending: "accepted", items: 1, ageMs: i * 1_000 }));
  }
  const seen: string[] = [];
  let path: string | undefined = "/jobs?pipeline=ocr";
  while (path) {
    const page: Shown = await server.get(path);
    seen.push(...jobsIn(page));
    path = /<a href="([^"]+)" rel="next"/.exec(page.html)?.[1]?.replaceAll("&amp;", "&");
  }
  expect(seen).toEqual(made);
});

test("a list of many jobs takes no more statements than one of a few", async () => {
  await using server = await openConsole();
  const counted = async () => {
    let statements = 0;
    const { db, config } = server.holdfast;
    const query: Db["query"] = (text, values) => (statements++, db.query(text, values));
    const counting = holdfastOver(newContext({ db: { ...db, query }, config, actor: "test" }));
    await jobsBody({ holdfast: counting, db }, new URL("http://localhost/jobs"));
    return statements;
  };
  await aJob(server, { done: 0.5 });
  const few = await counted();
  for (let i = 0; i < 20; i++)
    await aJob(server, { done: 0.5, tenant: i % 2 ? "acme" : "default" });
  expect(await counted()).toBe(few);
  expect(few).toBeLessThanOrEqual(12);
});

test("a job shows its stages, who holds what, what was lost, and leads to those items", async () => {
  await using server = await openConsole();
  const id = await aJob(server, {
    items: 240,
    done: 0.5,
    errorEvery: 20,
    lost: 1,
    holders: ["scanner-9"],
    error: "the file is empty",
  });
  await markPullWorkersSeen(server.holdfast.db, [
    { key: "seed", worker: "scanner-9", pipelines: ["ocr"] },
    { key: "seed", worker: "idle-one", pipelines: ["ocr"] },
    { key: "seed", worker: "of-another", pipelines: ["geocode"] },
  ]);
  const job = await server.holdfast.job.get(id);
  const page = await server.get(`/jobs/${id}`);
  expect(page.status).toBe(200);
  const { failed = 0, lost = 0, succeeded = 0 } = job.counts;
  expect(sectionOf(page, "progress")).toContain(`${failed + lost + succeeded} of 240`);
  expect(sectionOf(page, "progress")).toContain("Last hour:");

  const work = sectionOf(page, "work");
  expect(work).toMatch(/scanner-9<\/td>.*?online.*?<td class="num">2<\/td>/s);
  expect(work).toMatch(/idle-one<\/td>.*?<td class="num">0<\/td>/s);
  expect(work).not.toContain("of-another");
  expect(work).toContain(`href="/operations/${id}?outcome=lost#items">3</a>`);
  expect(work).toContain(`href="/jobs/${id}/results?show=late">3</a>`);
  expect(work).toContain(`${job.leases.redeliveries} of them again`);

  const errors = sectionOf(page, "errors");
  expect(errors).toContain("the file is empty: scans/2026/");
  expect(errors).toContain(`href="/operations/${id}?outcome=failed#items"`);
  const items = sectionOf(await server.get(`/operations/${id}?outcome=lost`), "items");
  expect(items.match(/never answered/g)).toHaveLength(lost);
});

test("logs are read by level, to the oldest line and back to the newest", async () => {
  await using server = await openConsole();
  const id = await aJob(server, { ending: "accepted" });
  const all = Array.from({ length: 230 }, (_, i) => i + 1);
  await appendLogs(
    server.holdfast.db,
    all.map((batch) => ({
      operationId: id,
      level: batch % 10 === 0 ? "warn" : "info",
      message: `batch ${batch}: done`,
    })),
  );
  const linesIn = (page: Shown) =>
    [...sectionOf(page, "logs").matchAll(/batch (\d+):/g)].map((hit) => Number(hit[1]));
  const follow = async (page: Shown, words: string) => {
    const href = new RegExp(`<a href="([^"]+)">[^<]*${words}`).exec(sectionOf(page, "logs"))?.[1];
    return href && server.get(href.replaceAll("&amp;", "&"));
  };
  const pages = [await server.get(`/jobs/${id}`)];
  for (let older; (older = await follow(pages[0]!, "Older lines"));) pages.unshift(older);
  expect(pages.flatMap(linesIn)).toEqual(all);

  const back = [pages[0]!];
  for (let newer; (newer = await follow(back.at(-1)!, "Newer lines"));) back.push(newer);
  expect(back.flatMap(linesIn)).toEqual(all);
  const newest = (await follow(pages[0]!, "newest")) as Shown;
  expect(linesIn(newest)).toEqual(linesIn(pages.at(-1)!));

  const warnings = sectionOf(await server.get(`/jobs/${id}?level=warn`), "logs");
  expect(warnings).toContain("</svg>warn</span>");
  expect(warnings).not.toContain("</svg>info</span>");
});

test("results are read to their end, errors alone, and what came too late beside them", async () => {
  await using server = await openConsole();
  const id = await aJob(server, { items: 144, ending: "completed", errorEvery: 24, lost: 1 });
  const seen: number[] = [];
  let path: string | undefined = `/jobs/${id}/results`;
  while (path) {
    const page: Shown = await server.get(path);
    seen.push(
      ...[...page.html.matchAll(/<span class="faint">(\d+)<\/span> scans/g)].map((hit) =>
        Number(hit[1]),
      ),
    );
    path = /<a href="([^"]+)" rel="next"/.exec(page.html)?.[1]?.replaceAll("&amp;", "&");
  }
  expect(seen).toEqual(Array.from({ length: 141 }, (_, i) => i + 4));

  const errors = await server.get(`/jobs/${id}/results?show=errors`);
  expect(errors.html.match(/not a picture/g)).toHaveLength(6);
  expect(errors.html).not.toContain("&quot;pages&quot;");
  const late = await server.get(`/jobs/${id}/results?show=late`);
  expect(late.html.match(/the item was lost/g)).toHaveLength(3);
  expect((await server.get(`/jobs/${id}/results?show=nonsense`)).status).toBe(400);
  expect((await server.get(`/jobs/${id}/results?after=x`)).html).toContain("after");
});

test("whatever workers send stands on the page as text", async () => {
  await using server = await openConsole();
  const hostile = `"><script>alert('x')</script><img src=x onerror=alert(1)>`;
  const id = await aJob(server, {
    items: 48,
    done: 0.5,
    errorEvery: 5,
    lost: 1,
    itemKey: (no) => `${hostile}-${no}`,
    error: hostile,
    key: hostile.replaceAll(" ", "_"),
    worker: hostile,
    holders: [hostile],
    result: { [hostile]: hostile.repeat(3) },
    reference: hostile,
  });
  await markPullWorkersSeen(server.holdfast.db, [
    { key: "seed", worker: hostile, pipelines: ["ocr"] },
  ]);
  for (const path of [
    "/",
    "/jobs",
    `/jobs/${id}`,
    `/jobs/${id}/results`,
    `/jobs/${id}/results?show=errors`,
    `/jobs/${id}/results?show=late`,
    `/operations/${id}`,
    `/operations/${id}/cancel`,
    `/jobs?pipeline=${encodeURIComponent(hostile)}`,
  ]) {
    const { html, headers } = await server.get(path);
    expect(html).not.toContain("<script>");
    expect(html).not.toContain("<img src=x");
    expect(html).not.toMatch(/<script(?![^>]*\bsrc=")|<style|\sstyle="|\son[a-z]+="|javascript:/i);
    expect(headers.get("content-security-policy")).not.toContain("unsafe");
  }
  for (const path of [`/jobs/${id}`, `/jobs/${id}/results`, "/jobs"]) {
    expect((await server.get(path)).html).toContain("&lt;script&gt;");
  }
});

test("whoever sees some tenants sees their jobs and pipelines, and no other", async () => {
  await using server = await serving();
  const own = await aJob(server, { tenant: "acme", pipeline: "ocr-acme" });
  const other = await aJob(server, { tenant: "globex", pipeline: "ocr-globex" });
  const browser = await signedIn(server, "viewer", ["acme"]);
  const list = await browser.get("/jobs");
  expect(jobsIn(list)).toEqual([own]);
  for (const path of ["/", "/jobs"]) {
    const { html } = await browser.get(path);
    expect(html).toContain("ocr-acme");
    expect(html).not.toContain("globex");
  }
  expect((await browser.get(`/jobs/${own}`)).status).toBe(200);
  for (const path of ["", "/results", "/live"]) {
    expect((await browser.get(`/jobs/${other}${path}`)).status).toBe(404);
  }
  expect((await browser.get("/jobs/nonsense")).status).toBe(400);
});

test("the overview says which pipeline has work and nobody to do it, and since when", async () => {
  await using server = await openConsole();
  await aJob(server, { items: 240, done: 0.5 });
  const overview = async () => (await server.get("/")).html;
  expect(await overview()).toMatch(
    /ocr<\/a> of default: 5 batches ready, no worker has ever asked/,
  );

  const worker = { key: "seed", worker: "w", pipelines: ["ocr"] };
  await markPullWorkersSeen(server.holdfast.db, [worker]);
  expect(await overview()).not.toContain("5 batches ready");
  expect(await overview()).toContain("1 online");

  await server.holdfast.db.query(
    "update holdfast.job_workers set seen_at = clock_timestamp() - interval '12 minutes'",
  );
  expect(await overview()).toContain("5 batches ready, no worker online for 12 min");
});

test("a part that takes too long is left out and says so; the rest of the page is there", async () => {
  await using server = await openConsole();
  const id = await aJob(server);
  const other = new pg.Client({ connectionString: server.databaseUrl });
  await other.connect();
  try {
    await other.query("begin; lock table holdfast.logs in access exclusive mode");
    const page = await server.get(`/jobs/${id}`);
    expect(page.status).toBe(200);
    expect(sectionOf(page, "logs")).toContain("took longer than 2 s");
    expect(sectionOf(page, "progress")).toContain("of 48");
  } finally {
    await other.end();
  }
});
