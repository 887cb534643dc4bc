import { expect, test } from "vitest";
import type { Entity } from "../../contracts/inventory.ts";
import type { PlanRule } from "../../contracts/plan-rule.ts";
import { ingest } from "../../db/inbox.ts";
import { registryOf, setSettings } from "../../db/inventory-settings.ts";
import { reconcileBatch } from "../../db/reconcile.ts";
import { fresh } from "../support/fresh.ts";
import { draining } from "../support/draining.ts";

const RULE: PlanRule = { name: "all", enabled: true, when: {}, decision: "apply" };

test("an applied object is found by its serial and its address, by callers of its tenant only", async () => {
  const config = { search: { schemas: ["holdfast"] } };
  const { db, holdfast } = await fresh(config);
  await holdfast.search.install({ types: ["object"] });
  const drains = draining({ db, config });
  await db.transaction((tx) => setSettings(tx, {}, "a", { mode: "auto", rules: [RULE] }, "test"));
  const entities: Entity[] = [
    {
      type: "device",
      fields: {
        name: "core-1",
        serial: "FOC1234X",
        site: { name: "Ulm" },
        role: { name: "core" },
        device_type: { model: "C9300", manufacturer: { name: "Cisco" } },
      },
      warnings: [],
    },
    { type: "ip_address", fields: { address: "10.1.2.3/24" }, warnings: [] },
  ];
  const place = { tenant: "a", branch: "main" };
  await db.transaction((tx) =>
    ingest(tx, registryOf({}, "network"), { ...place, source: "test", entities }),
  );
  expect(await reconcileBatch(db, {}, place)).toMatchObject({ applied: 2 });
  await drains.settled();
  const titles = async (text: string, tenants?: string[]) => {
    const who = tenants ? holdfast.as({ actor: "x", tenants }) : holdfast;
    const { items } = await who.search.query({ text, types: ["object"] });
    return items.map(({ title }) => title);
  };
  expect(await titles("FOC1234X")).toEqual(["Device core-1"]);
  expect(await titles("10.1.2.3")).toEqual(["Ip Address 10.1.2.3/24"]);
  expect(await titles("FOC1234X", ["a"])).toEqual(["Device core-1"]);
  expect(await titles("FOC1234X", ["b"])).toEqual([]);
});
