import type { Frame } from "./frame.ts";
import { NETWORK, feed } from "./inventory-feed.ts";
import { planAndApply } from "../db/plan-apply.ts";
import { APPLY_ALL, counting, placeOf, planDatabase, take } from "./plan-scene.ts";

/** One entity that the inventory itself refuses, somewhere in a batch that is fine otherwise. */
export async function measurePoison(frame: Frame): Promise<void> {
  const { db } = await planDatabase(frame);
  await db.query(
    "alter table holdfast.objects add constraint poison check (data ->> 'serial' is distinct from 'poison')",
  );
  const size = frame.quick ? 128 : 1_024;
  const calls: number[] = [];
  for (const at of [0, 1, Math.floor(size / 3), Math.floor(size / 2), size - 1]) {
    const tenant = `poison-${at}`;
    const entities = feed(size * 10).filter(({ type }) => type === "device");
    const { fields, ...rest } = entities[at]!;
    entities[at] = { ...rest, fields: { ...fields, serial: "poison" } };
    await take(db, tenant, entities.slice(0, size));
    const { db: counted, seen } = counting(db);
    let failed = 0;
    let applied = 0;
    while (applied + failed < size) {
      const batch = await planAndApply(counted, NETWORK, placeOf(tenant), {
        ...APPLY_ALL,
        limit: size,
      });
      failed += batch.failed;
      applied += batch.applied;
    }
    if (failed !== 1) throw new Error(`${failed} failed, and one was bad`);
    calls.push(seen.transactions);
  }
  frame.measure(
    `transactions to find one bad entity of ${size.toLocaleString("en")}`,
    Math.max(...calls),
    "",
    {
      atMost: 2 * Math.log2(size) + 2,
    },
  );
  await frame.close();
}
