import { expect, test } from "vitest";
import { listEntities } from "../../db/inbox-read.ts";
import { inboxStatus } from "../../db/inbox-status.ts";
import { hasSomethingToTell } from "../../db/relay.ts";
import type { Db } from "../../db/pool.ts";
import { freshDb } from "../support/fresh-db.ts";
import { rowsRead } from "../support/rows-read.ts";

const MANY = 40_000;
const ENTITIES = "^entit";

interface Given {
  tenant: string;
  n: number;
  branch?: string | null;
  type?: string;
  state?: number;
}

/** Entities of one tenant, one request for each thousand. */
async function given(db: Db, { tenant, n, branch = "main", type = "box", state = 1 }: Given) {
  await db.query(
    `insert into holdfast.entities
       (id, tenant, branch, request, type, identity, hash, fields, state, planned_at, settled_at)
     select nextval('holdfast.entity_ids'), $1, $2, md5($1 || i / 1000)::uuid, $3,
            sha256(i::text::bytea), '', '{}', $5::smallint, now(),
            case when $5::smallint in (3, 4, 5, 6, 7, 11) then now() end
       from generate_series(1, $4::int) i`,
    [tenant, branch, type, n, state],
  );
}

/** One tenant that has next to nothing, before, between and after one that has much. */
async function among(state: number): Promise<Db> {
  const { db } = await freshDb();
  await given(db, { tenant: "small", n: 3, state });
  await given(db, { tenant: "large", n: MANY, state });
  await given(db, { tenant: "small", n: 3, branch: "other", state });
  await given(db, { tenant: "middle", n: 2, branch: null, state });
  await db.query("analyze holdfast.entities");
  return db;
}

test.each([{ tenant: "small" }, { tenants: ["small", "middle", "nobody"] }, {}])(
  "a page of the inbox is read along the index of whose it is: %o",
  async (whose) => {
    const db = await among(3);
    const read = await rowsRead(db, ENTITIES, async (tx) => {
      const first = await listEntities(tx, { ...whose, limit: 5 });
      expect(first.items).toHaveLength(5);
      const second = await listEntities(tx, { ...whose, after: first.next, limit: 5 });
      expect(second.items.length).toBeGreaterThan(0);
      expect(Number(second.items[0]!.id)).toBeLessThan(Number(first.items[4]!.id));
    });
    expect(read).toBeGreaterThan(5);
    expect(read).toBeLessThan(100);
  },
);

test("what is rare is looked for a part at a time, and found in the end, each entity once", async () => {
  const { db } = await freshDb();
  await given(db, { tenant: "large", n: 2, type: "rare", state: 3 });
  await given(db, { tenant: "large", n: 10_000, state: 3 });
  await given(db, { tenant: "small", n: 100, type: "rare", state: 3 });
  await given(db, { tenant: "large", n: 1, type: "rare", state: 3 });
  await db.query("analyze holdfast.entities");
  for (const whose of [{ tenant: "large" }, { tenants: ["large", "small"] }, {}]) {
    const seen: string[] = [];
    let pages = 0;
    for (let after: string | undefined; ;) {
      const read = await rowsRead(db, ENTITIES, async (tx) => {
        const asked = { ...whose, type: "rare", after, limit: 60 };
        const { items, next } = await listEntities(tx, asked, 500);
        seen.push(...items.map(({ id }) => id));
        after = next;
      });
      expect(read).toBeLessThan(5_000);
      pages++;
      if (after === undefined) break;
    }
    expect(pages).toBeGreaterThan(3);
    expect(seen).toEqual([...new Set(seen)].toSorted((a, b) => Number(b) - Number(a)));
    expect(seen).toHaveLength("tenant" in whose ? 3 : 103);
  }
});

test("a page of one state or one request is read from an index of its own", async () => {
  const db = await among(3);
  await given(db, { tenant: "large", n: 3, state: 2 });
  await given(db, { tenant: "large", n: 3, state: 7 });
  const { items } = await listEntities(db, { tenant: "small", limit: 1 });
  for (const [asked, found] of [
    [{ state: "open" as const }, 3],
    [{ state: "errored" as const }, 3],
    [{ state: "ignored" as const }, 0],
    [{ request: items[0]!.request }, 6],
  ] as const) {
    const read = await rowsRead(db, ENTITIES, async (tx) => {
      const page = await listEntities(tx, { ...asked, limit: 10 });
      expect(page.items).toHaveLength(found);
      expect(page.next).toBe(undefined);
    });
    expect(read).toBeLessThan(100);
  }
});

test("the status of the inbox costs what it counts, whatever others have", async () => {
  const db = await among(1);
  await given(db, { tenant: "large", n: MANY, state: 3 });
  await given(db, { tenant: "large", n: MANY, state: 2 });
  const counted = (status: Awaited<ReturnType<typeof inboxStatus>>) =>
    status.map(({ tenant, branch, states }) => [tenant, branch, states]);
  const small = await rowsRead(db, ENTITIES, async (tx) => {
    expect(counted(await inboxStatus(tx, { tenant: "small" }, 100))).toEqual([
      ["small", "main", { queued: 3 }],
      ["small", "other", { queued: 3 }],
    ]);
  });
  expect(small).toBeLessThan(100);
  const all = await rowsRead(db, ENTITIES, async (tx) => {
    expect(counted(await inboxStatus(tx, {}, 100))).toEqual([
      ["large", "main", { queued: 100, open: 100 }],
      ["middle", null, { queued: 2 }],
      ["small", "main", { queued: 3 }],
      ["small", "other", { queued: 3 }],
    ]);
  });
  expect(all).toBeLessThan(1_000);
});

test("a relay at rest asks one short statement, and a longer one while entities are due", async () => {
  const { db } = await freshDb();
  const asked: string[] = [];
  const watched: Pick<Db, "query"> = {
    query: (text, values) => {
      asked.push(text);
      return db.query(text, values);
    },
  };
  await given(db, { tenant: "large", n: MANY, state: 3 });
  await given(db, { tenant: "large", n: 5, state: 2 });
  expect(await hasSomethingToTell(watched)).toBe(false);
  expect(asked).toHaveLength(1);
  const read = await rowsRead(db, ENTITIES, (tx) => hasSomethingToTell(tx));
  expect(read).toBeLessThan(20);
  await given(db, { tenant: "large", n: 1 });
  expect(await hasSomethingToTell(watched)).toBe(true);
  expect(asked).toHaveLength(3);
  await db.query(
    `insert into holdfast.brakes (applies_to, name, reason, set_by)
     values ('tenant', 'large', 'look', 'test')`,
  );
  expect(await hasSomethingToTell(watched)).toBe(false);
});
