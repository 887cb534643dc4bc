import { expect, test } from "vitest";
import { anOperation, openConsole, tokenIn } from "./browsing.ts";

test("cancel says what will happen to how many, and asks for the end of the id", async () => {
  await using server = await openConsole();
  const id = await anOperation(server, { ending: "accepted", items: 30 });
  const page = await server.get(`/operations/${id}/cancel`);
  expect(page.html).toContain("30 open items");
  expect(page.html).toContain("letters/2026/00001.md");
  const token = tokenIn(page);

  const wrong = await server.post(`/operations/${id}/cancel`, { token, typed: "yes" });
  expect(wrong.status).toBe(400);
  expect(wrong.html).toContain(`type exactly ${id.slice(-8)}`);
  expect((await server.holdfast.operation.get(id)).state).toBe("accepted");

  const right = await server.post(`/operations/${id}/cancel`, { token, typed: id.slice(-8) });
  expect([right.status, right.location]).toEqual([303, `/operations/${id}?did=cancel`]);
  const after = await server.get(right.location!);
  expect(after.html).toContain("cancelled by local");
  expect(after.html).toContain("operation.cancel");
  expect((await server.holdfast.operation.get(id)).state).toBe("cancelled");
});

test("what was cancelled is run again from its page, as the next generation", async () => {
  await using server = await openConsole();
  const id = await anOperation(server, { ending: "cancelled", items: 10 });
  const page = await server.get(`/operations/${id}/retry`);
  const sent = await server.post(`/operations/${id}/retry`, { token: tokenIn(page) });
  expect(sent.status).toBe(303);
  const view = await server.holdfast.operation.get(id);
  expect([view.state, view.generation]).toEqual(["accepted", 2]);
  expect((await server.get(`/operations/${id}`)).html).toContain("as generation 2, by local");
});

test("a pause keeps who and why for everybody to read, until it is resumed", async () => {
  await using server = await openConsole();
  const id = await anOperation(server);
  const token = tokenIn(await server.get(`/operations/${id}/pause`));
  await server.post(`/operations/${id}/pause`, { token, reason: "quota is used up" });
  const paused = await server.get(`/operations/${id}`);
  expect(paused.html).toContain("quota is used up");
  expect(paused.html).toContain(">Resume<");
  await server.post(`/operations/${id}/resume`, { token });
  expect((await server.holdfast.operation.get(id)).pausedAt).toBeNull();
});

test("what cannot be done as things stand is said, before and after the form is sent", async () => {
  await using server = await openConsole();
  const id = await anOperation(server, { ending: "completed", items: 3 });
  const page = await server.get(`/operations/${id}/cancel`);
  expect(page.html).toContain("nothing left to cancel");
  const token = tokenIn(await server.get(`/operations/${await anOperation(server)}/pause`));
  const sent = await server.post(`/operations/${id}/cancel`, { token, typed: id.slice(-8) });
  expect(sent.status).toBe(409);
  expect(sent.html).toContain("nothing to cancel");
});
