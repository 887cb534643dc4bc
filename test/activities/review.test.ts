import { expect, test } from "vitest";
import type { ReviewSubmit } from "../../contracts/review.ts";
import { everyActivityRepeats, everyStepMayFail } from "../support/every-activity.ts";
import { checkInvariants } from "../support/invariants.ts";
import { owner, reviewing, reviewWorker, type Reviewing } from "../support/reviewing.ts";

async function planned(n: number): Promise<Reviewing> {
  const reviews = await reviewing();
  await reviews.take(...Array.from({ length: n }, (_, no) => owner(`o${no}`)));
  await reviews.plan();
  return reviews;
}

async function essence(reviews: Reviewing) {
  const { rows: entities } = await reviews.db.query(
    "select state, approved_hash is not null as approved, decided_by from holdfast.entities order by id",
  );
  const { rows: outcomes } = await reviews.db.query(
    "select item_no, outcome from holdfast.outcomes order by 1",
  );
  const { rows: audit } = await reviews.db.query(
    "select sum((after ->> 'decided')::int) as n from holdfast.audit",
  );
  return { entities, outcomes, audit };
}

test("a review decides about what its filter found when it was accepted, each once", async () => {
  const reviews = await planned(30);
  const ref = await reviews.submit({ act: "approve", filter: { all: true }, reason: "looked at" });
  await reviews.take(owner("late"));
  await reviews.plan();
  const [first] = await reviews.ids();
  await reviews.holdfast.review.decide({ act: "reject", ids: [first!] });
  const workers = [reviewWorker(reviews.db), reviewWorker(reviews.db), reviewWorker(reviews.db)];
  await Promise.all(workers.map((one) => one.whole(ref)));
  const view = await reviews.holdfast.operation.get(ref.id);
  expect(view).toMatchObject({ state: "completed", result: { succeeded: 29, blocked: 1 } });
  const { items } = await reviews.holdfast.operation.items(ref.id, { outcome: "blocked" });
  expect(items[0]!.reason).toContain("rejected or ignored already by test");
  const { rows } = await reviews.db.query<{ n: number }>(
    "select count(*)::int as n from holdfast.entities where approved_hash is not null",
  );
  expect(rows[0]!.n).toBe(29);
  expect(await checkInvariants(reviews.db)).toEqual([]);
});

test("a plan that was made after the review was accepted is not approved by it", async () => {
  const reviews = await planned(2);
  const ref = await reviews.submit({ act: "approve", filter: { all: true } });
  const [first] = await reviews.ids();
  await reviews.holdfast.review.decide({ act: "rediff", ids: [first!] });
  await reviews.plan();
  await reviewWorker(reviews.db).whole(ref);
  const view = await reviews.holdfast.operation.get(ref.id);
  expect(view).toMatchObject({ result: { succeeded: 1, blocked: 1 } });
});

test("a review that finds nothing is refused, and its key answers the same again", async () => {
  const reviews = await planned(2);
  const asked: ReviewSubmit = { act: "approve", filter: { types: ["owner"] }, key: "k" };
  const ref = await reviews.submit(asked);
  await reviewWorker(reviews.db).whole(ref);
  expect(await reviews.holdfast.review.submit(asked)).toMatchObject({ id: ref.id, existing: true });
  await expect(
    reviews.holdfast.review.submit({ act: "reopen", filter: { all: true } }),
  ).rejects.toMatchObject({ code: "nothing-to-decide" });
});

const cases = [
  {
    name: "reviewWhole",
    async arrange() {
      const reviews = await planned(5);
      const ref = await reviews.submit({ act: "approve", filter: { all: true } });
      return {
        db: reviews.db,
        run: (db: Reviewing["db"]) => reviewWorker(db).whole(ref),
      };
    },
    essence: (db: Reviewing["db"]) => essence({ db } as Reviewing),
  },
];
everyActivityRepeats(cases);
everyStepMayFail(cases);
