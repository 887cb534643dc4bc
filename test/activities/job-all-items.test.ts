import { expect, test } from "vitest";
import { OVER_ALL_ITEMS } from "../../db/pool.ts";
import { repeatableLongWrites } from "../../workflows/policies.ts";
import { jobbing, numbered } from "../support/jobbing.ts";

test("what goes over all items of a job has minutes for each statement: begin, finish, cancel, run again", async () => {
  const { db, submit, working, holdfast } = await jobbing();
  await db.query(`
    create table public.bounds (statement text, lock text);
    create function public.note_bounds() returns trigger language plpgsql as $$
    begin
      insert into public.bounds
      values (current_setting('statement_timeout'), current_setting('lock_timeout'));
      return null;
    end $$;
    create trigger bounds after update on holdfast.jobs for each row
      execute function public.note_bounds()`);
  const bounds = async () => {
    const { rows } = await db.query<{ statement: string; lock: string }>(
      "with seen as (delete from public.bounds returning *) select * from seen",
    );
    return [...new Set(rows.map(({ statement, lock }) => `${statement} ${lock}`))];
  };
  const long = ["5min 30s"];

  const ref = await submit({ pipeline: "p", items: numbered(3) });
  await working.begin(ref);
  expect(await bounds()).toEqual(long);
  await working.finish(ref, "cancelled");
  expect(await bounds()).toEqual(long);
  await holdfast.job.retry(ref.id, { items: "all" });
  expect(await bounds()).toEqual(long);
  await holdfast.job.cancel(ref.id);
  expect(await bounds()).toEqual(long);
});

test("an activity over all items is given more time than a few of its statements may take", () => {
  const given = Number(repeatableLongWrites.startToCloseTimeout);
  expect(given).toBeGreaterThanOrEqual(5 * OVER_ALL_ITEMS.statementTimeoutMs!);
});
