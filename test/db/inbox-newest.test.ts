import { expect, test } from "vitest";
import type { Entity } from "../../contracts/inventory.ts";
import { ingest } from "../../db/inbox.ts";
import { freshDb } from "../support/fresh-db.ts";
import { SMALL_REGISTRY } from "../support/inventory-feeds.ts";
import { rowsRead } from "../support/rows-read.ts";

const boxes = (n: number, from = 0): Entity[] =>
  Array.from({ length: n }, (_, no) => ({
    type: "box",
    fields: { asset: `a${from + no}`, kind: "big" },
    warnings: [],
  }));

test("a tenant that Postgres knows nothing of yet is compared by identity, not as a whole", async () => {
  const { db } = await freshDb();
  const send = (tenant: string, entities: Entity[]) =>
    db.transaction((tx) =>
      ingest(tx, SMALL_REGISTRY, { tenant, branch: "main", source: "test", entities }),
    );
  for (const tenant of ["a", "b"]) await send(tenant, boxes(5_000));
  await db.query("analyze holdfast.entities");
  await send("new", boxes(5_000));
  const read = await rowsRead(db, "^entities", async (tx) => {
    const entities = [...boxes(50), ...boxes(50, 10_000)];
    const given = { tenant: "new", branch: "main", source: "test", entities };
    const { accepted, copies } = await ingest(tx, SMALL_REGISTRY, given);
    expect({ accepted, copies }).toEqual({ accepted: 50, copies: 50 });
  });
  expect(read).toBeLessThan(1_000);
});
