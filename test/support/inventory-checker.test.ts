import fc from "fast-check";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Entity } from "../../contracts/inventory.ts";
import { PlanRule } from "../../contracts/plan-rule.ts";
import { ingest } from "../../db/inbox.ts";
import { planAndApply, type PlanApplyOptions } from "../../db/plan-apply.ts";
import type { Db } from "../../db/pool.ts";
import { fresh } from "./fresh.ts";
import { inventoryProblems } from "./inventory-checker.ts";
import { seedInventory } from "./inventory-database.ts";
import { feeds, isSmallReference, SMALL_REGISTRY, SMALL_SEED } from "./inventory-feeds.ts";

/** The checker must see what a build would do that lacks one of the rules, else its silence means nothing. */

const OPTIONS: PlanApplyOptions = {
  mode: "auto",
  rules: [PlanRule.parse({ name: "everything", decision: "apply" })],
  retry: { attempts: 0, firstSeconds: 0, mostSeconds: 0 },
};

/** The same database, with statements told otherwise: a build that was written otherwise. */
function built(db: Db, otherwise: (text: string) => string): Db {
  return {
    ...db,
    transaction: (work, how) =>
      db.transaction(
        (tx) => work({ query: (text, values) => tx.query(otherwise(text), values) }),
        how,
      ),
  };
}

const BUILDS = {
  "as it is": (text: string) => text,
  "without the lock of an inventory, taking up whatever is due": (text: string) =>
    text
      .replace("pg_try_advisory_xact_lock($1, hashtext($2))", "true or $1::int = hashtext($2)")
      .replace("for update of e)", "for update of e skip locked)")
      .replaceAll("id limit $3", "id limit 4 * $3::int")
      .replace("due order by id limit 4 *", "due order by random() limit"),
  "without the rule that copies only count": (text: string) =>
    text.includes("identity, id desc limit 1) e") ? `${text} and false` : text,
  "that takes a message in as often as it comes": (text: string) =>
    text.includes("insert into holdfast.ingest_requests")
      ? text.replace("$4", "nullif($4, $4)")
      : text,
};

async function problemsOf(otherwise: (text: string) => string, rounds: number): Promise<string[]> {
  const { db } = await fresh();
  const build = built(db, otherwise);
  const samples = fc.sample(fc.array(feeds, { minLength: 8, maxLength: 8 }), rounds);
  for (const [round, producers] of samples.entries()) {
    const place = { tenant: `t${round}`, branch: "main" };
    await seedInventory(db, SMALL_REGISTRY, place, SMALL_SEED);
    const check = {
      registry: SMALL_REGISTRY,
      seed: SMALL_SEED,
      isReference: isSmallReference,
      sent: producers.flat().length,
    };
    const taken = new AbortController();
    const appliers = [1, 2, 3, 4].map(() => applyAll(build, place.tenant, taken.signal));
    await Promise.all(producers.map((feed, no) => produce(build, place.tenant, feed, no)));
    taken.abort();
    await Promise.all(appliers);
    const problems = await inventoryProblems(db, place, check);
    if (problems.length > 0) return problems;
  }
  return [];
}

/** Messages of up to four, every other one sent twice. */
async function produce(db: Db, tenant: string, feed: readonly Entity[], no: number): Promise<void> {
  for (let at = 0; at < feed.length; at += 4) {
    const entities = feed.slice(at, at + 4);
    const given = { tenant, branch: "main", source: "test", messageId: `${no}/${at}`, entities };
    for (let times = at % 8 === 0 ? 2 : 1; times > 0; times--) {
      await db.transaction((tx) => ingest(tx, SMALL_REGISTRY, given));
    }
  }
}

async function applyAll(db: Db, tenant: string, taken: AbortSignal): Promise<void> {
  const place = { tenant, branch: "main" };
  for (;;) {
    const ending = taken.aborted;
    // What a build that lacks a rule runs into is not the question here.
    const batch = await planAndApply(db, SMALL_REGISTRY, place, { ...OPTIONS, limit: 3 }).catch(
      () => undefined,
    );
    if (batch?.busy) await delay(1);
    else if ((batch?.claimed ?? 0) === 0 && ending) return;
  }
}

test("nothing is wrong with the product as it is", { timeout: 120_000 }, async () => {
  expect(await problemsOf(BUILDS["as it is"], 4)).toEqual([]);
});

test.each<[Exclude<keyof typeof BUILDS, "as it is">, RegExp]>([
  ["without the lock of an inventory, taking up whatever is due", /oracle|out of order/],
  ["without the rule that copies only count", /was still to say/],
  ["that takes a message in as often as it comes", /entities were sent/],
])("a build %s is found out", { timeout: 120_000 }, async (build, told) => {
  const problems = await problemsOf(BUILDS[build], 20);
  expect(problems.join("\n")).toMatch(told);
  // It was not merely at a standstill.
  expect(problems.join("\n")).not.toMatch(/in state \d/);
});
