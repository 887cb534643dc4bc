import { beforeEach, expect, test } from "vitest";
import type { Holdfast } from "../../client/index.ts";
import type { NewWebhook } from "../../contracts/webhook.ts";
import { insertEvents } from "../../db/events.ts";
import type { Db } from "../../db/pool.ts";
import { fresh } from "../support/fresh.ts";

let db: Db;
let holdfast: Holdfast;
beforeEach(async () => {
  ({ db, holdfast } = await fresh());
});

const wanted: NewWebhook = {
  url: "https://hooks.example.com/in",
  events: ["operation.finished", "operation.expired", "operation.finished"],
};

test("a webhook is listed as it was added, without its secret", async () => {
  const { secret, ...added } = await holdfast.webhook.add(wanted);
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  expect(added).toMatchObject({
    tenant: "default",
    url: wanted.url,
    events: ["operation.finished", "operation.expired"],
    createdBy: "test",
    disabledAt: null,
    pending: 0,
    dead: 0,
  });
  expect(new Date(added.createdAt).toISOString()).toBe(added.createdAt);
  expect(await holdfast.webhook.list()).toEqual([added]);
  expect(await holdfast.webhook.get(added.id)).toEqual(added);
});

test("a secret of one's own is used and shown once as well", async () => {
  const secret = `whsec_${Buffer.alloc(24, 1).toString("base64")}`;
  const added = await holdfast.webhook.add({ ...wanted, secret });
  expect(added.secret).toBe(secret);
  expect(JSON.stringify(await holdfast.webhook.list())).not.toContain(secret);
});

test("an event makes one delivery for each webhook of its tenant that asked for its type", async () => {
  const mine = await holdfast.webhook.add(wanted);
  await holdfast.webhook.add({ ...wanted, events: ["doctor.finding"] });
  await holdfast.webhook.add({ ...wanted, tenant: "acme" });
  const event = { type: "operation.finished", tenant: "default", body: {} } as const;
  await db.transaction((tx) => insertEvents(tx, [event, event, event]));

  const page = await holdfast.webhook.deliveries(mine.id, { limit: 2 });
  const rest = await holdfast.webhook.deliveries(mine.id, { limit: 2, after: page.next! });
  expect([...page.items, ...rest.items]).toHaveLength(3);
  expect(rest.next).toBeUndefined();
  expect(page.items[0]).toMatchObject({ webhookId: mine.id, state: "pending", tries: [] });
  expect((await holdfast.webhook.list()).map((webhook) => webhook.pending)).toEqual([3, 0, 0]);
  expect((await holdfast.webhook.deliveries(mine.id, { state: "dead" })).items).toEqual([]);
});

test("a removed webhook takes its deliveries with it, and the audit says who did what", async () => {
  const { id } = await holdfast.webhook.add(wanted);
  const event = { type: "operation.finished", tenant: "default", body: {} } as const;
  await db.transaction((tx) => insertEvents(tx, [event]));
  await holdfast.webhook.remove(id);
  expect(await holdfast.webhook.list()).toEqual([]);
  expect((await db.query("select from holdfast.deliveries")).rowCount).toBe(0);
  await expect(holdfast.webhook.remove(id)).rejects.toMatchObject({ status: 404 });
  const { rows } = await db.query(
    "select actor, action, tenant, subject from holdfast.audit order by id",
  );
  const by = { actor: "test", tenant: "default", subject: id };
  expect(rows).toEqual([
    { ...by, action: "webhook.add" },
    { ...by, action: "webhook.remove" },
  ]);
});

test("a caller of one tenant sees and touches no webhook of another", async () => {
  const theirs = await holdfast.webhook.add({ ...wanted, tenant: "acme" });
  const ours = holdfast.as({ actor: "ours", tenants: ["ours"] });
  expect(await ours.webhook.list()).toEqual([]);
  expect((await ours.webhook.add(wanted)).tenant).toBe("ours");
  for (const refused of [
    () => ours.webhook.get(theirs.id),
    () => ours.webhook.remove(theirs.id),
    () => ours.webhook.deliveries(theirs.id),
    () => ours.webhook.redeliver(theirs.id, theirs.id),
    () => ours.webhook.add({ ...wanted, tenant: "acme" }),
    () => ours.webhook.list({ tenant: "acme" }),
  ]) {
    await expect(refused()).rejects.toMatchObject({ status: 404 });
  }
});

test("a tenant has at most 100 webhooks", async () => {
  await db.query(
    `insert into holdfast.webhooks (id, tenant, url, events, created_by)
     select gen_random_uuid(), 'default', 'https://example.com', '{}', 'test'
       from generate_series(1, 100)`,
  );
  await expect(holdfast.webhook.add(wanted)).rejects.toMatchObject({ status: 413 });
  await expect(holdfast.webhook.add({ ...wanted, tenant: "acme" })).resolves.toBeDefined();
});

test("a wrong webhook is refused with the field named, and leaves nothing", async () => {
  for (const [input, message] of WRONG) {
    await expect(holdfast.webhook.add(input as NewWebhook)).rejects.toThrow(message);
  }
  expect(await holdfast.webhook.list()).toEqual([]);
});

const WRONG = [
  [{ ...wanted, url: "nowhere" }, "url: must be a URL such as"],
  [{ ...wanted, url: "ftp://example.com" }, "url: must begin with https://"],
  [{ ...wanted, url: "https://u:p@example.com" }, "url: must not hold a user or password"],
  [{ ...wanted, url: "https://example.com/#a" }, "url: must not hold a fragment"],
  [{ ...wanted, url: `https://example.com/${"a".repeat(2_000)}` }, "url: must be at most 2000"],
  [{ ...wanted, url: "http://example.com" }, "plain http to example.com is refused: use https"],
  [{ ...wanted, url: "https://192.168.1.1" }, "192.168.1.1 is not a public address"],
  [{ ...wanted, events: [] }, "events: must name at least one"],
  [{ ...wanted, events: ["other"] }, "events[0]: must be one of operation.finished"],
  [{ ...wanted, secret: "short" }, 'secret: must be "whsec_" and the base64 of 24 to 64'],
  [{ ...wanted, secret: "whsec_c2hvcnQ=" }, 'secret: must be "whsec_"'],
  [{ ...wanted, headers: {} }, "unknown field headers"],
] as const;

test("a disabled webhook sends nothing again, and says why", async () => {
  const { id } = await holdfast.webhook.add(wanted);
  const event = { type: "operation.finished", tenant: "default", body: {} } as const;
  await db.transaction((tx) => insertEvents(tx, [event]));
  const [delivery] = (await holdfast.webhook.deliveries(id)).items;
  await db.query(
    "update holdfast.webhooks set disabled_at = clock_timestamp(), disabled_reason = 'gone'",
  );
  await expect(holdfast.webhook.redeliver(delivery!.eventId, id)).rejects.toThrow("(gone)");
});
