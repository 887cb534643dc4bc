import { expect, test } from "vitest";
import { atWork } from "../../activities/drain.ts";
import { claimDrainsToWake } from "../../db/relay.ts";
import { until } from "../../dev/until.ts";
import { fresh } from "../support/fresh.ts";

const drain = { queue: "consolidate", lane: 0 };

test("a drain in the middle of a long step is not woken, and is once more when it has ended", async () => {
  const { db } = await fresh();
  await db.query(
    "insert into holdfast.marks (queue, scope, key) values ('consolidate', '1', 'part/1')",
  );
  const isLeftAlone = async () => {
    const { rowCount } = await db.query(
      "select from holdfast.drains where queue = 'consolidate' and wake_at > clock_timestamp()",
    );
    return rowCount === 1;
  };
  const becomeDue = () => db.query("update holdfast.drains set wake_at = clock_timestamp()");
  const step = async () => {
    for (const _ of [1, 2]) {
      await becomeDue();
      await until(isLeftAlone, 5_000, () => "the drain does not say that it is at work");
    }
  };
  await atWork(db, drain, step, 20);
  await becomeDue();
  expect(await claimDrainsToWake(db)).toEqual([drain]);
});
