import { expect, onTestFinished, test } from "vitest";
import { DefaultBranch } from "../../activities/target-branch.ts";
import type { Entity } from "../../contracts/inventory.ts";
import { NO_BRANCH } from "../../contracts/target.ts";
import { ingest } from "../../db/inbox.ts";
import { settingsOf } from "../../db/inventory-settings.ts";
import { until } from "../../dev/until.ts";
import { SMALL_REGISTRY } from "../support/inventory-feeds.ts";
import { TENANT, targeting } from "../support/targeting.ts";

const BRANCH = { id: "schema12", name: "review" };
const box: Entity = { type: "box", fields: { asset: "a1", kind: "big" }, warnings: [] };

async function unknown(branch: typeof BRANCH | null) {
  const made = await targeting({}, { branch });
  await made.settings({ defaultBranch: null });
  const { db, target } = made;
  const keeper = new DefaultBranch({ db, name: "outside", target });
  onTestFinished(() => keeper.stop());
  const take = (branch: string | null) =>
    db.transaction((tx) =>
      ingest(tx, SMALL_REGISTRY, { tenant: TENANT, branch, source: "test", entities: [box] }),
    );
  const known = async () => (await settingsOf(db, made.config, TENANT)).defaultBranch;
  return { ...made, keeper, take, known };
}

test("while the default branch is not known nothing is planned; then all of it goes there", async () => {
  const { keeper, take, drain, states, outside, known } = await unknown(BRANCH);
  await take(null);
  await drain();
  expect(outside.calls).toEqual([]);
  expect(await known()).toBeNull();
  await keeper.refresh();
  expect(await known()).toBe("schema12");
  await drain();
  expect(await states()).toEqual([3]);
  expect(outside.calls.at(-1)!.branch).toBe("schema12");
});

test("a target without the call, or without a branch, is known to have none", async () => {
  for (const absent of [true, false]) {
    const { keeper, outside, known } = await unknown(absent ? BRANCH : null);
    if (absent) outside.fail({ fault: "no-default-branch", path: "default-branch/" });
    await keeper.refresh();
    expect(await known()).toBe(NO_BRANCH);
  }
});

test("a refresh that fails keeps what was known, and reading it asks nobody", async () => {
  const { keeper, outside, known } = await unknown(BRANCH);
  await keeper.refresh();
  const asked = outside.calls.length;
  await outside.down();
  await keeper.refresh();
  expect(keeper.known).toBe("schema12");
  expect(await known()).toBe("schema12");
  expect(outside.calls.length).toBe(asked);
});

test("it is asked once at the start, whoever starts it again, and once for many wishes", async () => {
  const { keeper, outside } = await unknown(BRANCH);
  keeper.start();
  keeper.start();
  await until(
    () => keeper.known,
    5_000,
    () => "not known",
  );
  expect(outside.calls).toHaveLength(1);
  await Promise.all([keeper.refresh(), keeper.refresh(), keeper.refresh()]);
  expect(outside.calls).toHaveLength(2);
});
