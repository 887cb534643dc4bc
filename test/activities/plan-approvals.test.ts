import fc from "fast-check";
import { expect, test } from "vitest";
import type { Change, Entity, Fields } from "../../contracts/inventory.ts";
import { PlanRule } from "../../contracts/plan-rule.ts";
import type { OperationRef } from "../../contracts/messages.ts";
import type { PlanEntity } from "../../contracts/plan.ts";
import { ingest } from "../../db/inbox.ts";
import { planAndApply } from "../../db/plan-apply.ts";
import { canonicalJson, parseExactJson } from "../../domain/exact-json.ts";
import { checkInvariants } from "../support/invariants.ts";
import { inventoryFaults } from "../support/inventory-database.ts";
import { SMALL_REGISTRY } from "../support/inventory-feeds.ts";
import { planning, sent, type Planning } from "../support/planning.ts";

const RUNS = Number(process.env["HOLDFAST_ORACLE_RUNS"] ?? 25);
const APPLY_ALL = PlanRule.parse({ name: "everything", decision: "apply" });

// Few names and few values, so that everybody speaks of the same things.
const owner = fc.record({ name: fc.constantFrom("o1", "o2"), level: fc.constantFrom(1, 2, 3) });
const placed = fc.record(
  { name: fc.constantFrom("p1", "p2"), note: fc.constantFrom("x", "y") },
  { requiredKeys: ["name"] },
);
const box = fc.record(
  {
    asset: fc.constantFrom("a1", "a2", "a3"),
    kind: fc.constantFrom("big", "small"),
    owner,
    place: placed,
  },
  { requiredKeys: ["asset", "kind"] },
);
const port = fc.record({
  name: fc.constantFrom("e1", "e2"),
  type: fc.constantFrom("copper", "glass"),
  box: fc.oneof(box, fc.record({ asset: fc.constantFrom("a1", "a2", "a3") })),
});
const said: fc.Arbitrary<Entity> = fc.oneof(
  ...Object.entries({ owner, place: placed, box, port }).map(([type, fields]) =>
    fc.record({
      type: fc.constant(type),
      fields: fields as fc.Arbitrary<unknown> as fc.Arbitrary<Fields>,
      warnings: fc.constant([]),
    }),
  ),
);

const some = fc.uniqueArray(fc.nat(7), { minLength: 1, maxLength: 5 });
const step = fc.oneof(
  { weight: 2, arbitrary: fc.record({ do: fc.constant("edit" as const), said }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("approve" as const), some }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("approve as seen first" as const), some }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("approve all" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reject" as const), some }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("rediff" as const), some }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("work" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

const program = fc.record({
  there: fc.array(said, { maxLength: 4 }),
  plan: fc.array(said, { minLength: 1, maxLength: 8 }),
  steps: fc.array(step, { minLength: 3, maxLength: 14 }),
});

const effects = (changes: readonly Change[]) =>
  changes
    .filter(({ kind }) => kind !== "noop")
    .map(({ kind, type, identity, before, after }) =>
      canonicalJson({ kind, type, identity, before, after }),
    );

/** One plan among others that change the same things, and what its people have approved of it. */
class Story {
  readonly #plans: Planning;
  readonly #branch: string;
  readonly #ref: OperationRef;
  /** The plans that were seen by whoever approved, by entity: the last one counts. */
  readonly #approved = new Map<string, readonly Change[]>();
  readonly #first: readonly PlanEntity[];
  back = 0;
  inPart = 0;

  static async of(plans: Planning, branch: string, there: Entity[], entities: Entity[]) {
    await edit(plans, branch, there);
    const ref = await plans.submit(
      entities.map(({ type, fields }) => sent(type, fields)),
      { branch },
    );
    await plans.on(ref);
    const { items } = await plans.holdfast.plan.changes(ref.id);
    return new Story(plans, branch, ref, items);
  }

  private constructor(
    plans: Planning,
    branch: string,
    ref: OperationRef,
    first: readonly PlanEntity[],
  ) {
    this.#plans = plans;
    this.#branch = branch;
    this.#ref = ref;
    this.#first = first;
  }

  async take(one: Step): Promise<void> {
    const { plan, review } = this.#plans.holdfast;
    const { id } = this.#ref;
    if (one.do === "edit") return edit(this.#plans, this.#branch, [one.said]);
    if (one.do === "work") return this.#work();
    const { finishedAt, counts, hash } = await plan.get(id);
    if (finishedAt !== null) return;
    const { items } = await plan.changes(id);
    if (one.do === "approve all") {
      if (hash === null || counts.planning > 0) return;
      await plan.approve(id, { hash });
      for (const item of items) if (item.state === "waiting") this.#note(item);
      return;
    }
    const named = one.some.flatMap((no) => items[no] ?? []);
    if (named.length === 0) return;
    const ids = named.map((item) => item.id);
    if (one.do === "reject") await plan.reject(id, { entities: ids });
    else if (one.do === "rediff") await review.decide({ act: "rediff", ids });
    else {
      // What was seen is what stands now, or what stood when the plan was made.
      const seen = named.map((item) => {
        return one.do === "approve" ? item : this.#first.find((first) => first.id === item.id)!;
      });
      const planHashes = seen.map(({ planHash }) => planHash ?? "00".repeat(32));
      const { refused } = await review.decide({ act: "approve", ids, planHashes });
      const not = new Set(refused.map((other) => other.id));
      for (const item of seen) if (!not.has(item.id)) this.#note(item);
    }
  }

  #note({ id, changes }: PlanEntity): void {
    this.#approved.set(id, changes);
  }

  async #work(): Promise<void> {
    await this.#plans.on(this.#ref);
    await this.#compare();
  }

  /** What is applied was approved as it is; what was approved and is not applied waits, or has ended. */
  async #compare(): Promise<void> {
    const { db, holdfast } = this.#plans;
    const { rows } = await db.query<{ entity: string; changes: string; journal: number }>(
      `select c.entity, c.changes::text as changes,
              (select count(*)::int from holdfast.object_journal j where j.entity = c.entity) as journal
         from holdfast.change_sets c join holdfast.entities e on e.id = c.entity
        where e.operation = $1 and c.applied_at is not null order by c.id`,
      [this.#ref.id],
    );
    const applied = new Map(rows.map((row) => [row.entity, row]));
    expect(applied.size).toBe(rows.length);
    const { items } = await holdfast.plan.changes(this.#ref.id);
    for (const { id, state, stale, changes, error } of items) {
      expect(state === "applied", `${id} is ${state}`).toBe(applied.has(id));
      expect(["planning", "approved"]).not.toContain(state);
      const approved = this.#approved.get(id);
      if (state === "applied") {
        const done = parseExactJson(applied.get(id)!.changes) as unknown as Change[];
        expect(effects(approved!)).toEqual(expect.arrayContaining(effects(done)));
        expect(applied.get(id)!.journal).toBe(effects(done).length);
        if (effects(done).length < effects(approved!).length) this.inPart++;
      }
      if (!stale) continue;
      this.back++;
      expect(approved).toBeDefined();
      if (!error!.message.includes("was not there")) {
        expect(effects(approved!)).not.toEqual(expect.arrayContaining(effects(changes)));
      }
    }
  }

  /** All that still waits is approved as it is, until nothing does. */
  async end(): Promise<void> {
    for (let round = 0; round < 30; round++) {
      await this.#work();
      const { finishedAt } = await this.#plans.holdfast.plan.get(this.#ref.id);
      if (finishedAt !== null) return;
      await this.take({ do: "approve all" });
    }
    throw new Error("what is approved is never applied, though nobody edits anything");
  }
}

async function edit({ db }: Planning, branch: string, entities: Entity[]): Promise<void> {
  const place = { tenant: "default", branch };
  await db.transaction((tx) => ingest(tx, SMALL_REGISTRY, { ...place, source: "test", entities }));
  const retry = { attempts: 0, firstSeconds: 0, mostSeconds: 0 };
  await planAndApply(db, SMALL_REGISTRY, place, { mode: "auto", rules: [APPLY_ALL], retry });
}

test(
  "whatever is edited, approved, rejected and planned again: what is applied was approved as it is, or waits again",
  { timeout: 240_000 },
  async () => {
    const plans = await planning();
    let branches = 0;
    let back = 0;
    let inPart = 0;
    const check = fc.asyncProperty(program, async ({ there, plan, steps }) => {
      const branch = `b${branches++}`;
      const story = await Story.of(plans, branch, there, plan);
      for (const one of steps) await story.take(one);
      await story.end();
      back += story.back;
      inPart += story.inPart;
      const place = { tenant: "default", branch };
      expect(await inventoryFaults(plans.db, SMALL_REGISTRY, place)).toEqual([]);
    });
    await fc.assert(check, { numRuns: RUNS });
    expect(await checkInvariants(plans.db, { settled: false })).toEqual([]);
    // Both of these must have happened, or nothing was tried.
    expect(back).toBeGreaterThan(0);
    expect(inPart).toBeGreaterThan(0);
  },
);
