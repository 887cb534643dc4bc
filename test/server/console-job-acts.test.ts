import { expect, test } from "vitest";
import { RUN_AGAIN } from "../../contracts/job.ts";
import { seedJob } from "../../dev/seed-jobs.ts";
import { openConsole, signedIn, tokenIn } from "./browsing.ts";
import { serving, type Serving } from "./serving.ts";

// 48 items: 24 worked, of which the first two failed, and 24 cancelled.
const cancelled = (server: Serving) =>
  seedJob(server.holdfast.db, {
    ending: "cancelled",
    pipeline: "ocr",
    items: 48,
    ageMs: 60_000,
    done: 0.5,
    errorEvery: 12,
  });

const TAKEN = { unfinished: 26, failed: 2, remaining: 24, all: 48 } as const;

test.each(RUN_AGAIN)("a job is run again over the items that were chosen: %s", async (items) => {
  await using server = await openConsole();
  const id = await cancelled(server);
  expect((await server.get(`/jobs/${id}`)).html).toContain(`href="/operations/${id}/retry"`);
  const page = await server.get(`/operations/${id}/retry`);
  expect(page.html).toMatch(
    new RegExp(`value="${items}".*?<strong>${TAKEN[items]} items</strong>`, "s"),
  );

  const sent = await server.post(`/operations/${id}/retry`, { token: tokenIn(page), items });
  expect([sent.status, sent.location]).toEqual([303, `/jobs/${id}?did=retry`]);
  const job = await server.holdfast.job.get(id);
  expect([job.state, job.generation]).toEqual(["accepted", 2]);
  const { rows } = await server.holdfast.db.query<{ run_again: string }>(
    "select run_again from holdfast.jobs where operation_id = $1",
    [id],
  );
  expect(rows[0]!.run_again).toBe(items);
  const [entry] = await server.holdfast.operation.audit(id);
  expect([entry!.actor, entry!.action]).toEqual(["local", "operation.retry"]);
});

test("what cannot be chosen is refused by name, and nothing is run again", async () => {
  await using server = await openConsole();
  const id = await cancelled(server);
  const token = tokenIn(await server.get(`/operations/${id}/retry`));
  const sent = await server.post(`/operations/${id}/retry`, { token, items: "some" });
  expect(sent.status).toBe(400);
  expect(sent.html).toContain("items");
  expect((await server.holdfast.job.get(id)).generation).toBe(1);
});

test("a job is paused, resumed and cancelled from its page, each act leading back to it", async () => {
  await using server = await openConsole();
  const id = await seedJob(server.holdfast.db, {
    ending: "running",
    pipeline: "ocr",
    items: 48,
    ageMs: 60_000,
    done: 0.5,
  });
  const act = async (name: string, fields: Record<string, string>) => {
    expect((await server.get(`/jobs/${id}`)).html).toContain(`href="/operations/${id}/${name}"`);
    const token = tokenIn(await server.get(`/operations/${id}/${name}`));
    const sent = await server.post(`/operations/${id}/${name}`, { token, ...fields });
    expect([name, sent.location]).toEqual([name, `/jobs/${id}?did=${name}`]);
    return (await server.get(sent.location!)).html;
  };
  expect(await act("pause", { reason: "the scanner is cleaned" })).toContain("scanner is cleaned");
  expect(await act("resume", {})).toContain("Resumed.");
  const page = await server.get(`/operations/${id}/cancel`);
  expect(page.html).toContain("24 open items");
  const wrong = await server.post(`/operations/${id}/cancel`, { token: tokenIn(page), typed: "x" });
  expect(wrong.status).toBe(400);
  expect(await act("cancel", { typed: id.slice(-8) })).toContain("Cancel asked for");
  expect(
    (await server.holdfast.operation.audit(id)).map(({ action }) => action).toSorted(),
  ).toEqual(["operation.cancel", "operation.pause", "operation.resume"]);
});

test("who may only look is offered no act, and refused when asking for one", async () => {
  await using server = await serving();
  const id = await cancelled(server);
  const viewer = await signedIn(server, "viewer");
  const page = await viewer.get(`/jobs/${id}`);
  expect(page.status).toBe(200);
  expect(page.html).not.toContain(`/operations/${id}/retry`);
  expect((await viewer.get(`/operations/${id}/retry`)).status).toBe(403);
  // Every page of somebody signed in has a form: the one to sign out.
  const token = tokenIn(page);
  expect((await viewer.post(`/operations/${id}/retry`, { token, items: "all" })).status).toBe(403);
  expect((await server.holdfast.job.get(id)).generation).toBe(1);
});
