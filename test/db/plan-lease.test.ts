import { expect, test } from "vitest";
import type { Entity } from "../../contracts/inventory.ts";
import { leaseEntities } from "../../db/plan-lease.ts";
import { nextTargetPlace } from "../../db/plan-lease-due.ts";
import { endLease, extendLease, LeaseLost, releaseLease } from "../../db/plan-lease-hold.ts";
import { settleTarget } from "../../db/target-settle.ts";
import { claimDrainsToWake } from "../../db/relay.ts";
import { targeting } from "../support/targeting.ts";

const place = { tenant: "a", branch: "main" };
const at = { target: "outside", lane: 0, lanes: 1 };
const options = { limit: 10, leaseSeconds: 60 };
const box = (no: number, kind = "big"): Entity => ({
  type: "box",
  fields: { asset: `a${no}`, kind },
  warnings: [],
});

/** As if the worker had not been heard of for a minute. */
const lapse = (db: Awaited<ReturnType<typeof targeting>>["db"]) =>
  db.query(
    "update holdfast.entities set lease_until = clock_timestamp() where lease_until is not null",
  );

test("what one holds nobody else gets, until its time is over; then the first writes nothing", async () => {
  const { db, take } = await targeting();
  await take([box(1), box(2)]);
  const first = (await leaseEntities(db, place, at, options))!;
  expect(first.entities).toHaveLength(2);
  expect(await leaseEntities(db, place, at, options)).toBeUndefined();
  expect(await nextTargetPlace(db, at)).toBeUndefined();
  await lapse(db);
  expect(await nextTargetPlace(db, at)).toEqual(place);
  const second = (await leaseEntities(db, place, at, options))!;
  expect(second.entities).toHaveLength(2);

  const ends = first.entities.map((entity) => ({ entity, state: "applied" as const }));
  const late = settleTarget(db, { place, token: first.token, ends, arrivals: [] });
  await expect(late).rejects.toThrow(LeaseLost);
  const ids = first.entities.map(({ id }) => id);
  expect(await extendLease(db, first.token, ids, 60)).toBe(0);
  expect(await releaseLease(db, first.token)).toBe(0);
  const { rows } = await db.query("select distinct state, token from holdfast.entities");
  expect(rows).toEqual([{ state: 10, token: second.token }]);
  await settleTarget(db, { place, token: second.token, ends, arrivals: [] });
  expect((await db.query("select 1 from holdfast.entities where state = 3")).rows).toHaveLength(2);
});

test("a write for several is refused whole when one of them is lost", async () => {
  const { db, take } = await targeting();
  await take([box(1), box(2)]);
  const { token, entities } = (await leaseEntities(db, place, at, options))!;
  const ids = entities.map(({ id }) => id);
  await db.query("update holdfast.entities set token = 999 where id = $1", [ids[1]]);
  await expect(db.transaction((tx) => endLease(tx, token, ids))).rejects.toThrow("1 of 2");
  const { rows } = await db.query("select 1 from holdfast.entities where lease_until is null");
  expect(rows).toEqual([]);
});

test("versions of one identity are claimed in their order, and none while another one is held", async () => {
  const { db, take } = await targeting();
  await take([box(1, "big"), box(1, "small"), box(2)]);
  const first = (await leaseEntities(db, place, at, options))!;
  expect(first.entities.map(({ fields }) => [fields["asset"], fields["kind"]])).toEqual([
    ["a1", "big"],
    ["a1", "small"],
    ["a2", "big"],
  ]);
  expect(await leaseEntities(db, place, at, options)).toBeUndefined();
  await releaseLease(db, first.token);
  const again = (await leaseEntities(db, place, at, { ...options, limit: 1 }))!;
  expect(again.entities[0]!.fields["kind"]).toBe("big");
});

test("lanes share the entities between them, each of them in one", async () => {
  const { db, take } = await targeting();
  await take(Array.from({ length: 60 }, (_, no) => box(no)));
  const claims = await Promise.all(
    [0, 1, 2].map((lane) =>
      leaseEntities(db, place, { ...at, lane, lanes: 3 }, { ...options, limit: 60 }),
    ),
  );
  const ids = claims.flatMap((claim) => claim!.entities.map(({ id }) => id));
  expect(new Set(ids).size).toBe(60);
  expect(claims.every((claim) => claim!.entities.length > 5)).toBe(true);
});

test("a lane takes up its own claims at once, and nobody else's", async () => {
  const { db, take } = await targeting();
  await take([box(1)]);
  const { token } = (await leaseEntities(db, place, at, options))!;
  const { token: next } = (await leaseEntities(db, place, at, { ...options, adopt: [token] }))!;
  expect(next).not.toBe(token);
  expect(await leaseEntities(db, place, at, { ...options, adopt: [token] })).toBeUndefined();
});

test("the relay wakes the lanes of a target that has something due, and of no other", async () => {
  const { db, take, settings } = await targeting();
  expect(await claimDrainsToWake(db)).toEqual([]);
  await take([box(1)]);
  const woken = await claimDrainsToWake(db);
  expect(woken.map(({ queue }) => queue)).toEqual(
    Array.from({ length: 4 }, () => "target-outside"),
  );
  const rested = "update holdfast.drains set wake_at = clock_timestamp()";
  await db.query(rested);
  await db.query("update holdfast.targets set retry_at = clock_timestamp() + interval '1 hour'");
  expect(await claimDrainsToWake(db)).toEqual([]);
  await db.query("update holdfast.targets set retry_at = null");
  await settings({ target: null });
  const others = (await claimDrainsToWake(db)).filter(({ queue }) => queue === "target-outside");
  expect(others).toEqual([]);
});
