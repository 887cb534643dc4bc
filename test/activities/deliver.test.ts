import dns from "node:dns";
import { syncBuiltinESMExports } from "node:module";
import { Webhook } from "standardwebhooks";
import { expect, onTestFinished, test } from "vitest";
import { deliverActivities } from "../../activities/deliver.ts";
import { postEvent } from "../../activities/post-event.ts";
import type { Holdfast } from "../../client/index.ts";
import type { EventType, WebhookMessage } from "../../contracts/webhook.ts";
import { settleDelivery } from "../../db/deliveries.ts";
import { insertEvents } from "../../db/events.ts";
import type { Db } from "../../db/pool.ts";
import { DELIVERY } from "../../domain/delivery.ts";
import { fresh } from "../support/fresh.ts";
import { receiver } from "../support/receiver.ts";
import { searchDatabase } from "../support/search-database.ts";

const LANE = { queue: "deliver", lane: 0 };
const events: EventType[] = ["operation.finished"];
const OPERATION = "01890000-0000-7000-8000-000000000001";

/** A database whose configuration allows the hosts given, and the activity over it. */
async function setup(
  allow: string[],
  { sendTimeoutMs, budgetMs }: { sendTimeoutMs?: number; budgetMs?: number } = {},
) {
  const config = { webhooks: { allow } };
  const { db, holdfast, url } = await fresh(config);
  const warnings: string[] = [];
  const { deliver } = deliverActivities({
    db,
    config,
    log: { warn: (fields, message) => void warnings.push(`${message} ${JSON.stringify(fields)}`) },
    ...(sendTimeoutMs ? { sendTimeoutMs } : {}),
    ...(budgetMs ? { budgetMs } : {}),
  });
  return { db, url, holdfast, warnings, deliver: () => deliver(LANE) };
}

async function happen(db: Db, n = 1, type: EventType = "operation.finished"): Promise<void> {
  const event = { type, tenant: "default", operationId: OPERATION, body: { state: "completed" } };
  await db.transaction((tx) =>
    insertEvents(
      tx,
      Array.from({ length: n }, () => event),
    ),
  );
}

/** Makes the past: whatever waits for a later try is due. */
async function letTimePass(db: Db): Promise<void> {
  await db.query(
    "update holdfast.deliveries set due_at = clock_timestamp() where state = 'pending'",
  );
}

async function deliveries(holdfast: Holdfast, id: string) {
  return (await holdfast.webhook.deliveries(id)).items;
}

test("an event arrives once, signed with the secret that was shown at the start", async () => {
  const there = await receiver(204);
  const { db, holdfast, deliver } = await setup([there.host]);
  const { id, secret } = await holdfast.webhook.add({ url: there.url, events });
  await happen(db);
  await happen(db, 1, "operation.expired"); // nobody asked for it
  expect(await deliver()).toEqual({ done: 1, more: false });
  expect(await deliver()).toEqual({ done: 0, more: false });

  expect(there.received).toHaveLength(1);
  const { headers, body, path } = there.received[0]!;
  expect(path).toBe("/hook");
  const message = new Webhook(secret).verify(body, headers) as WebhookMessage;
  expect(message).toMatchObject({
    type: "operation.finished",
    tenant: "default",
    operationId: OPERATION,
    data: { state: "completed" },
  });
  expect(Object.keys(message).toSorted()).toEqual(
    ["at", "data", "id", "operationId", "tenant", "type"].toSorted(),
  );
  expect(headers["webhook-id"]).toBe(message.id);
  expect(headers["content-type"]).toBe("application/json");
  const another = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
  expect(() => new Webhook(another).verify(body, headers)).toThrow("signature");

  expect(await deliveries(holdfast, id)).toMatchObject([
    {
      eventId: message.id,
      state: "delivered",
      attempts: 1,
      nextTryAt: null,
      operationId: OPERATION,
    },
  ]);
});

test("a failed delivery is tried again, later each time, with the same id, until it arrives", async () => {
  const there = await receiver(500, 503, 302, 200);
  const { db, holdfast, deliver } = await setup([there.host]);
  const { id } = await holdfast.webhook.add({ url: there.url, events });
  await happen(db);
  const waits: number[] = [];
  for (let attempt = 1; attempt <= 3; attempt++) {
    const { done, more, nextDueAt } = await deliver();
    expect({ done, more }).toEqual({ done: 1, more: false });
    waits.push(nextDueAt! - Date.now());
    expect(await deliver()).toMatchObject({ done: 0 }); // not before its time
    await letTimePass(db);
  }
  for (const [index, wait] of waits.entries()) {
    const whole = 5_000 * 2 ** index;
    expect(wait).toBeGreaterThan(whole / 2 - 500);
    expect(wait).toBeLessThanOrEqual(whole);
  }
  await deliver();

  expect(new Set(there.received.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
  const [delivery] = await deliveries(holdfast, id);
  expect(delivery).toMatchObject({ state: "delivered", attempts: 4 });
  expect(delivery!.tries).toMatchObject([
    { attempt: 1, status: 500, error: "answered 500" },
    { attempt: 2, status: 503, error: "answered 503" },
    { attempt: 3, status: 302, error: "answered 302; redirects are not followed" },
    { attempt: 4, status: 200, error: null },
  ]);
  for (const { at } of delivery!.tries) expect(new Date(at).toISOString()).toBe(at);
});

test("after its last try a delivery is dead and seen, and can be sent again by hand", async () => {
  const there = await receiver(500);
  const { db, holdfast, deliver, warnings } = await setup([there.host]);
  const { id } = await holdfast.webhook.add({ url: there.url, events });
  await happen(db);
  await db.query("update holdfast.deliveries set attempts = $1", [DELIVERY.maxAttempts - 2]);
  await deliver();
  expect(await deliveries(holdfast, id)).toMatchObject([{ state: "pending" }]);
  await letTimePass(db);
  expect(await deliver()).toEqual({ done: 1, more: false });
  const [dead] = await deliveries(holdfast, id);
  expect(dead).toMatchObject({ state: "dead", attempts: DELIVERY.maxAttempts, nextTryAt: null });
  expect(await holdfast.webhook.get(id)).toMatchObject({ pending: 0, dead: 1 });
  expect(warnings).toEqual([expect.stringContaining("event given up")]);

  const again = await holdfast.webhook.redeliver(dead!.eventId, id);
  expect(again).toMatchObject({ state: "pending", attempts: DELIVERY.maxAttempts });
  await deliver();
  expect(await deliveries(holdfast, id)).toMatchObject([{ state: "pending" }]); // tries anew
  there.reactions = [200];
  await letTimePass(db);
  await deliver();
  expect(await deliveries(holdfast, id)).toMatchObject([
    { state: "delivered", attempts: DELIVERY.maxAttempts + 2 },
  ]);
});

test("a receiver that is gone for good is asked no more, and its webhook says why", async () => {
  const there = await receiver(410);
  const { db, holdfast, deliver } = await setup([there.host], { sendTimeoutMs: 1_000 });
  const { id } = await holdfast.webhook.add({ url: there.url, events });
  await happen(db, 9);
  expect(await deliver()).toMatchObject({ more: false });
  expect(there.received.length).toBeLessThanOrEqual(8);
  expect(await holdfast.webhook.get(id)).toMatchObject({
    disabledReason: "its receiver answered 410 Gone",
    pending: 0,
    dead: 9,
  });
  await happen(db);
  expect(await deliver()).toEqual({ done: 0, more: false });
  const { rows } = await db.query("select action from holdfast.audit where subject = $1", [id]);
  expect(rows.map((row) => row["action"])).toEqual(["webhook.add", "webhook.disable"]);
});

test("a slow endpoint is waited for, and holds up no other", async () => {
  const held: (() => void)[] = [];
  const slow = await receiver((answer) => void held.push(() => answer.writeHead(200).end()));
  let arrived = 0;
  const fast = await receiver((answer) => {
    answer.writeHead(200).end();
    arrived++;
  });
  const { db, holdfast, deliver } = await setup([slow.host, fast.host]);
  const slowHook = await holdfast.webhook.add({ url: slow.url, events });
  await happen(db, 10);
  const fastHook = await holdfast.webhook.add({ url: fast.url, events });
  // Those of the slow one are the oldest, and there are more of them than it has places.
  await happen(db, 50);
  const delivering = deliver();
  const pending = async () => (await holdfast.webhook.get(fastHook.id)).pending;
  await expect.poll(pending, { timeout: 5_000 }).toBe(0);
  expect(held).toHaveLength(4);
  await happen(db, 10); // becomes due while the slow one is waited for
  await expect.poll(() => arrived, { timeout: 5_000 }).toBe(60);
  expect(slow.received).toHaveLength(4);
  slow.reactions = [200];
  for (const release of held.splice(0)) release();
  await delivering;
  for (const { id } of [fastHook, slowHook]) {
    expect((await holdfast.webhook.get(id)).pending).toBe(0);
  }
});

test("an endpoint that never answers is given its time and no more", async () => {
  const silent = await receiver(() => undefined);
  const { db, holdfast, deliver } = await setup([silent.host], {
    sendTimeoutMs: 300,
    budgetMs: 600,
  });
  const { id } = await holdfast.webhook.add({ url: silent.url, events });
  await happen(db, 20);
  const begunAt = Date.now();
  expect(await deliver()).toMatchObject({ more: true });
  expect(Date.now() - begunAt).toBeLessThan(1_800);
  // Four at once until it has failed, then one at a time.
  expect(silent.received.length).toBeLessThanOrEqual(6);
  const tried = (await deliveries(holdfast, id)).flatMap((delivery) => delivery.tries);
  expect(tried.length).toBe(silent.received.length);
  for (const { status, error } of tried) {
    expect({ status, error }).toEqual({ status: null, error: "no answer within 0.3 s" });
  }
});

test("an endless answer is cut off, and counts by its status", async () => {
  const endless = await receiver((answer) => {
    answer.writeHead(200);
    const more = () => void (answer.write("x".repeat(65_536)) ? setImmediate(more) : undefined);
    answer.on("drain", more).on("error", () => undefined);
    more();
  });
  const { db, holdfast, deliver } = await setup([endless.host]);
  const { id } = await holdfast.webhook.add({ url: endless.url, events });
  await happen(db);
  await deliver();
  const [delivery] = await deliveries(holdfast, id);
  expect(delivery).toMatchObject({ state: "delivered" });
  expect(delivery!.tries[0]!.durationMs).toBeLessThan(5_000);
});

test("a sender that died is succeeded when its claim runs out, and a late success of it counts", async () => {
  const there = await receiver(500);
  const { db, holdfast, deliver } = await setup([there.host]);
  const { id } = await holdfast.webhook.add({ url: there.url, events });
  await happen(db);
  // As a claim leaves it: counted, and put off.
  await db.query(
    `update holdfast.deliveries
        set attempts = 1, due_at = clock_timestamp() + interval '30 seconds'`,
  );
  const { done, more, nextDueAt } = await deliver();
  expect({ done, more }).toEqual({ done: 0, more: false });
  expect(nextDueAt! - Date.now()).toBeGreaterThan(25_000);
  await letTimePass(db);
  await deliver();
  const [waiting] = await deliveries(holdfast, id);
  expect(waiting).toMatchObject({ state: "pending", attempts: 2, tries: [{ attempt: 2 }] });

  const late = { eventId: waiting!.eventId, webhookId: id, attempt: 1, durationMs: 40_000 };
  const failed = { ...late, status: 500, error: "late", next: { state: "dead" } as const };
  await settleDelivery(db, failed);
  expect(await deliveries(holdfast, id)).toMatchObject([{ state: "pending" }]);
  await db.query("delete from holdfast.delivery_attempts where attempt = 1");
  const arrived = { ...late, status: 200, error: undefined, next: { state: "delivered" } as const };
  await settleDelivery(db, arrived);
  expect(await deliveries(holdfast, id)).toMatchObject([
    { state: "delivered", tries: [{ attempt: 1 }, { attempt: 2 }] },
  ]);
});

test("an event on its way is claimed for as long as its send may take, and hardly longer", async () => {
  const held: (() => void)[] = [];
  const slow = await receiver((answer) => void held.push(() => answer.writeHead(200).end()));
  const { db, holdfast, deliver } = await setup([slow.host], { sendTimeoutMs: 10_000 });
  await holdfast.webhook.add({ url: slow.url, events });
  await happen(db);
  const delivering = deliver();
  await expect.poll(() => held.length).toBe(1);
  const { rows } = await db.query<{ s: number }>(
    "select extract(epoch from due_at - clock_timestamp())::float8 as s from holdfast.deliveries",
  );
  held[0]!();
  await delivering;
  expect(rows[0]!.s).toBeGreaterThan(10);
  expect(rows[0]!.s).toBeLessThan(15);
});

test("two senders at once deliver everything, each event once", async () => {
  const there = await receiver(200);
  const { db, holdfast, deliver } = await setup([there.host]);
  await holdfast.webhook.add({ url: there.url, events });
  await happen(db, 40);
  const done = await Promise.all([deliver(), deliver(), deliver()]);
  expect(done.reduce((sum, one) => sum + one.done, 0)).toBe(40);
  expect(new Set(there.received.map(({ headers }) => headers["webhook-id"])).size).toBe(40);
  expect(there.received).toHaveLength(40);
});

test("a webhook that is removed while it is sent to disturbs nothing", async () => {
  const kept = await receiver(200);
  const held: (() => void)[] = [];
  const going = await receiver((answer) => void held.push(() => answer.writeHead(200).end()));
  const { db, holdfast, deliver } = await setup([kept.host, going.host]);
  const { id } = await holdfast.webhook.add({ url: going.url, events });
  await holdfast.webhook.add({ url: kept.url, events });
  await happen(db);
  const delivering = deliver();
  await expect.poll(() => held.length).toBe(1);
  await holdfast.webhook.remove(id);
  held[0]!();
  await expect(delivering).resolves.toMatchObject({ more: false });
  expect(kept.received).toHaveLength(1);
  expect((await db.query("select from holdfast.deliveries")).rowCount).toBe(1);
});

test("a destination that is no longer allowed is not sent to", async () => {
  const there = await receiver(200);
  const { db, holdfast } = await setup([there.host]);
  const { id } = await holdfast.webhook.add({ url: there.url, events });
  await happen(db);
  await deliverActivities({ db, config: {} }).deliver(LANE);
  expect(there.received).toEqual([]);
  const [delivery] = await deliveries(holdfast, id);
  expect(delivery).toMatchObject({ state: "pending" });
  expect(delivery!.tries[0]!.error).toContain("plain http to 127.0.0.1 is refused");
});

const post = {
  secret: `whsec_${Buffer.alloc(32).toString("base64")}`,
  message: { id: "e", type: events[0]!, at: "", tenant: "t", operationId: null, data: {} },
  timeoutMs: 2_000,
};

test.each([
  "127.0.0.1",
  "0x7f.1",
  "0.0.0.0",
  "10.0.0.1",
  "169.254.169.254",
  "100.64.0.1",
  "[::1]",
  "[::ffff:127.0.0.1]",
  "[fd00::1]",
  "[fe80::1]",
  "localhost",
])("%s is not sent to unless it is named", async (host) => {
  const answer = await postEvent({ ...post, url: `https://${host}:9/`, allow: undefined });
  expect(answer.status).toBeUndefined();
  expect(answer.error).toContain("is not a public address: name");
});

test("a name that leads to a private address is refused when it is connected to", async () => {
  const there = await receiver(200);
  resolvingTo("127.0.0.1");
  const host = "hooks.example.com";
  const url = `//${host}:${new URL(there.url).port}/`;
  for (const allow of [undefined, ["*.example.com"]]) {
    const refused = await postEvent({ ...post, url: `https:${url}`, allow });
    expect(refused.error).toMatch(/127\.0\.0\.1.* is not allowed/);
  }
  expect(there.received).toEqual([]);
  // Named in full, it is meant.
  const sent = await postEvent({ ...post, url: `http:${url}`, allow: [host] });
  expect(sent).toMatchObject({ status: 200 });
});

/** Every name leads to one address, for this test. */
function resolvingTo(address: string): void {
  const { lookup } = dns;
  const fake = (_: string, options: { all?: boolean }, answer: (...args: unknown[]) => void) =>
    options.all ? answer(null, [{ address, family: 4 }]) : answer(null, address, 4);
  dns.lookup = fake as unknown as typeof lookup;
  syncBuiltinESMExports();
  onTestFinished(() => {
    dns.lookup = lookup;
    syncBuiltinESMExports();
  });
}

test("a secret is nowhere but in the answer that made it and the table that keeps it", async () => {
  const there = await receiver(500);
  const { db, holdfast, deliver, warnings } = await setup([there.host]);
  const { id, secret } = await holdfast.webhook.add({ url: there.url, events });
  await happen(db);
  await db.query("update holdfast.deliveries set attempts = $1", [DELIVERY.maxAttempts - 1]);
  await deliver();
  const shown = JSON.stringify([
    await holdfast.webhook.list(),
    await holdfast.webhook.get(id),
    await holdfast.webhook.deliveries(id),
    await holdfast.webhook.redeliver((await deliveries(holdfast, id))[0]!.eventId, id),
    there.received,
    warnings,
  ]);
  const key = secret.slice("whsec_".length);
  expect(shown).not.toContain(key);
  expect(await searchDatabase(db, key)).toEqual(["webhook_secrets.secret: 1"]);
  await holdfast.webhook.remove(id);
  expect(await searchDatabase(db, key)).toEqual([]);
});
