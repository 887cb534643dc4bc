import { expect, test } from "vitest";
import { addMarks } from "../../db/marks.ts";
import { createServer } from "../../server/server.ts";
import { serving } from "./serving.ts";

test("a server is ready when its database is, and tells of Temporal without depending on it", async () => {
  await using server = await serving();
  const ready = await server.ask("GET", "/readyz");
  expect(ready.status).toBe(200);
  expect(await ready.json()).toEqual({
    status: "ready",
    postgres: "ok",
    schema: "ok",
    temporal: "unknown",
  });
  const { holdfast } = server;
  const stopping = new AbortController();
  const other = createServer({
    holdfast,
    settings: { auth: "on", namespace: "default" },
    log: (await import("pino")).pino({ level: "silent" }),
    temporalReachable: async () => false,
    stopping: stopping.signal,
  });
  const without = await other.request("/readyz");
  expect([without.status, await without.json()]).toMatchObject([200, { temporal: "failing" }]);
  stopping.abort();
  const last = await other.request("/readyz");
  expect([last.status, await last.json()]).toMatchObject([503, { status: "stopping" }]);
});

test("without a database, or with another version of it, the server lives and is not ready", async () => {
  await using server = await serving();
  await server.holdfast.db.query("drop table holdfast.schema_migrations");
  const behind = await server.ask("GET", "/readyz");
  expect([behind.status, await behind.json()]).toMatchObject([
    503,
    { schema: "failing", why: expect.stringContaining("holdfast migrate") as string },
  ]);
  await server.holdfast.close();
  const gone = await server.ask("GET", "/readyz");
  expect([gone.status, await gone.json()]).toMatchObject([503, { postgres: "failing" }]);
  expect((await server.ask("GET", "/livez")).status).toBe(200);
  expect(await (await server.ask("GET", "/version")).json()).toMatchObject({ name: "holdfast" });
});

test("metrics show what is open, what is late and how requests went, and name no tenant", async () => {
  await using server = await serving();
  const { holdfast } = server;
  const submit = () =>
    holdfast.retain.submit({ tenant: "tenant-7", bank: "bank-7", items: [{ content: "x" }] });
  await submit();
  await submit();
  await holdfast.db.query(
    "update holdfast.operations set accepted_at = accepted_at - interval '90 seconds', due_at = due_at - interval '90 seconds'",
  );
  await addMarks(holdfast.db, "consolidate", "1", ["part/1", "part/2", "part/3"]);
  await holdfast.db.query(
    "insert into holdfast.findings (check_name, subject, message) values ('orphans', 'x', 'y')",
  );
  await server.ask("GET", "/v1/operations/00000000-0000-7000-8000-000000000000");
  const answer = await server.ask("GET", "/metrics");
  expect(answer.headers.get("content-type")).toContain("text/plain");
  const text = await answer.text();
  const value = (name: string) =>
    Number(
      text
        .split("\n")
        .find((line) => line.startsWith(`${name} `))
        ?.split(" ")[1],
    );
  expect(value("holdfast_database_up")).toBe(1);
  expect(value('holdfast_operations_open{kind="retain",state="accepted"}')).toBe(2);
  expect(value("holdfast_operations_to_start")).toBe(2);
  expect(value("holdfast_relay_lag_seconds")).toBeGreaterThan(89);
  expect(value('holdfast_marks{queue="consolidate"}')).toBe(3);
  expect(value("holdfast_deliveries_pending")).toBe(0);
  expect(value("holdfast_findings_open")).toBe(1);
  expect(value("holdfast_workers_online")).toBe(0);
  expect(
    value(
      'holdfast_http_request_seconds_count{method="GET",route="/v1/operations/:id",status="401"}',
    ),
  ).toBe(1);
  expect(text).toContain("process_resident_memory_bytes");
  expect(text).not.toContain("-7");
});

test("metrics show how far behind search is, lane by lane, and how long changes take to be found", async () => {
  await using server = await serving();
  const { db } = server.holdfast;
  await db.query(
    `insert into holdfast.index_marks (lane, schema_name, type, keys, at)
     values (2, 'public', 'site', '{1}', now() - interval '40 seconds'),
            (2, 'public', 'site', '{2}', now()), (3, 'other', 'site', '{3}', now())`,
  );
  await db.query(
    `update holdfast.index_lanes
        set failing_since = now() - interval '5 seconds', last_error = 'secret', applied = 7,
            waited = '{1,2,0,0,0,0,0,0,0,0,3}', waited_seconds = 900.5
      where lane = 2`,
  );
  await db.query(
    "update holdfast.index_lanes set waited[1] = 4, waited_seconds = 0.5 where lane = 3",
  );
  const text = await (await server.ask("GET", "/metrics")).text();
  const lines = text.split("\n").filter((line) => line.startsWith("holdfast_index"));
  const value = (name: string) =>
    Number(lines.find((line) => line.startsWith(`${name} `))?.split(" ")[1]);
  expect(value('holdfast_index_marks{lane="2"}')).toBe(2);
  expect(value('holdfast_index_marks{lane="3"}')).toBe(1);
  expect(value('holdfast_index_marks_oldest_seconds{lane="2"}')).toBeGreaterThan(39);
  expect(value('holdfast_index_failing_seconds{lane="2"}')).toBeGreaterThan(4);
  expect(value('holdfast_index_failing_seconds{lane="1"}')).toBe(0);
  expect(value('holdfast_index_objects_applied{lane="2"}')).toBe(7);
  expect(value('holdfast_index_visible_seconds_bucket{le="0.1"}')).toBe(5);
  expect(value('holdfast_index_visible_seconds_bucket{le="300"}')).toBe(7);
  expect(value('holdfast_index_visible_seconds_bucket{le="+Inf"}')).toBe(10);
  expect(value("holdfast_index_visible_seconds_count")).toBe(10);
  expect(value("holdfast_index_visible_seconds_sum")).toBe(901);
  expect(text).toContain("# TYPE holdfast_index_visible_seconds histogram");
  expect(text).not.toContain("secret");
});

test("metrics are answered without Postgres, and say that it does not answer", async () => {
  await using server = await serving();
  await server.holdfast.close();
  const text = await (await server.ask("GET", "/metrics")).text();
  expect(text).toMatch(/^holdfast_database_up 0$/m);
  expect(text).not.toMatch(/^holdfast_relay_lag_seconds/m);
});
